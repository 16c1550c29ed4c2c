-- A wrk script: each request creates a timer with an id of its own. The body without it comes as an argument.
local body, prefix
local count = 0

function init(args)
  math.randomseed(os.time())
  prefix = string.format("w%08x-", math.random(0, 2 ^ 31 - 1))
  body = "," .. string.sub(args[1], 2)
end

function request()
  count = count + 1
  return wrk.format("POST", nil, { ["content-type"] = "application/json" }, '{"id":"' .. prefix .. count .. '"' .. body)
end

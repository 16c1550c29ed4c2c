import aiohttp

from tests.api.support import TIMERS, create_body


async def test_smoke(client: aiohttp.ClientSession) -> None:
    answer = await client.post(TIMERS, json=create_body(id="a", payload={"x": 1.5}, headers={"A": "b"}))
    print(answer.status, answer.headers, await answer.text())
    assert answer.status == 201
    answer = await client.get(TIMERS + "/a")
    body = await answer.text()
    answer = await client.put(TIMERS + "/a", data=body, headers={"Content-Type": "application/json"})
    assert await answer.text() == body
    for path in (
        "/livez",
        "/readyz",
        "/metrics",
        "/docs",
        "/api.yaml",
        "/api/v1/groups",
        "/api/v1/groups/demo",
        TIMERS,
        "/x",
    ):
        answer = await client.get(path)
        print(path, answer.status, (await answer.text())[:300])
    for method, path, body in (
        ("POST", ":batch", {"timers": [create_body(id="b"), {"x": 1}, 3]}),
        ("POST", "/a:run", None),
        ("POST", "/a:redrive", None),
        ("POST", "/a", None),
        ("POST", ":cancel", {"ids": ["b", "c"]}),
        ("POST", ":cancel", {"filter": {}}),
        ("POST", ":redrive", {"filter": {}}),
        ("DELETE", "/a", None),
    ):
        answer = await client.request(method, TIMERS + path, json=body)
        print(method, path, answer.status, (await answer.text())[:900])
    assert answer.status == 404

"""Who may do what: each account's rights, verb by verb."""

from tests.support.helm import Helm, Json, Objects

Right = tuple[str, str, str]

OPERATOR = {
    ("", "timergroups", "get list patch watch"),
    ("", "timers", "get list patch watch"),
    ("", "timergroups/status", "get patch"),
    ("", "timers/status", "get patch"),
    ("", "timergroups/finalizers", "update"),
    ("", "timers/finalizers", "update"),
    ("", "events", "create"),
}
LEASE = {
    ("timers", "leases", "create"),
    ("timers", "leases/dt-durable-timer-operator", "get update"),
}
UNINSTALL = {
    ("", "timergroups", "list patch"),
    ("", "timers", "list patch"),
    ("timers", "deployments/dt-durable-timer-operator", "get"),
    ("timers", "deployments/scale/dt-durable-timer-operator", "patch"),
    ("timers", "pods", "list"),
}


def test_each_account_has_what_it_needs(plain: Objects) -> None:
    assert rights(plain, "operator") == OPERATOR | LEASE
    assert rights(plain, "uninstall") == UNINSTALL
    assert rights(plain, "executor") == set()
    assert rights(plain, "bridge") == set()


def test_executors_get_secrets_where_they_may(full: Objects) -> None:
    assert rights(full, "executor") == {
        ("team-a", "secrets", "get"),
        ("team-b", "secrets/webhook-key", "get"),
    }


def test_the_operator_alone_writes_status_and_reads_no_secret(full: Objects) -> None:
    for account in ("operator", "uninstall", "bridge"):
        assert not [right for right in rights(full, account) if "secrets" in right[1]]
    for account in ("executor", "uninstall", "bridge"):
        assert not [right for right in rights(full, account) if "status" in right[1]]
    for role in [*full.of("ClusterRole"), *full.of("Role")]:
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_namespaced_it_asks_for_nothing_of_the_cluster(helm: Helm) -> None:
    objects = helm.render({"watch": {"namespaces": ["a", "b"]}})
    assert not objects.of("ClusterRole")
    assert not objects.of("ClusterRoleBinding")
    wanted = {(namespace, *rest) for namespace in ("a", "b") for _, *rest in OPERATOR}
    assert rights(objects, "operator") == wanted | LEASE
    job = objects.one("Job")["spec"]["template"]["spec"]["containers"][0]
    assert job["env"] == [{"name": "DURABLE_TIMER_KUBERNETES__NAMESPACES", "value": "a,b"}]


def test_people_who_may_edit_may_edit_timers_but_not_their_status(plain: Objects) -> None:
    edit = plain.one("ClusterRole", "-edit")
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert [rule["resources"] for rule in edit["rules"]] == [["timergroups", "timers"]]


def test_without_rbac_there_is_none_but_the_hooks(helm: Helm) -> None:
    objects = helm.render({"rbac": {"create": False}})
    named = {each["metadata"]["name"] for kind in ("Role", "ClusterRole") for each in objects.of(kind)}
    assert named == {"dt-durable-timer-uninstall", "timers-dt-durable-timer-uninstall"}


def rights(objects: Objects, account: str) -> set[Right]:
    """(namespace or nothing, resource and name, verbs) of a component's account."""
    found: set[Right] = set()
    for binding in [*objects.of("ClusterRoleBinding"), *objects.of("RoleBinding")]:
        subjects = [subject["name"] for subject in binding["subjects"]]
        if subjects != [f"dt-durable-timer-{account}"]:
            continue
        namespace = binding["metadata"].get("namespace", "")
        role = next(each for each in objects if refers(binding, each))
        found |= {
            (
                namespace,
                resource + "".join(f"/{name}" for name in rule.get("resourceNames", [])),
                " ".join(sorted(rule["verbs"])),
            )
            for rule in role["rules"]
            for resource in rule["resources"]
        }
    return found


def refers(binding: Json, role: Json) -> bool:
    reference = binding["roleRef"]
    same_place = role["metadata"].get("namespace") == binding["metadata"].get("namespace")
    return bool(role["kind"] == reference["kind"] and role["metadata"]["name"] == reference["name"] and same_place)

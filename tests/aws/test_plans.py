"""The plans for AWS, without AWS: options are checked, and every call is valid in botocore's own description of the service.

python -m tests.aws.test_plans      rewrites tests/aws/test_plans.txt, the calls of a dry run
"""

import json
import re
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name
from botocore.validate import ParamValidator

from handler import __version__
from scripts.aws import plan as steps_of
from scripts.aws import policies, push, removal, scaling
from scripts.aws.errors import AwsError
from scripts.aws.found import Found, Image, model_key
from scripts.aws.names import Names, digest
from scripts.aws.plan import Call, Run, Wait
from scripts.aws.serving import plan
from scripts.aws.settings import settings

GOLDEN = Path(__file__).with_suffix(".txt")
TOPIC = "arn:aws:sns:eu-west-1:123456789012:alerts"
ACCOUNT = "123456789012"
IMAGE = Image(
    f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/synpg-torchserve@sha256:{'a' * 64}",
    f"arn:aws:ecr:eu-west-1:{ACCOUNT}:repository/synpg-torchserve",
    "application/vnd.docker.distribution.manifest.v2+json",
)
# What the golden file shows: every mode, and every option that adds a call.
ASKED = {
    "serverless": {},
    "realtime": {"instance": "ml.g5.xlarge", "max_count": 3, "alarms": True, "alarm_topic": TOPIC},
    "async": {"max_count": 2, "error_topic": TOPIC},
    "batch": {"input": "s3://mine/requests/"},
}
MORE = [
    ("serverless", {"provisioned": 2, "max_provisioned": 4, "concurrency": 10, "environment": {"A": "b"}, "tags": {"team": "x"}}),
    ("realtime", {"scale_on": "concurrency", "max_count": 2, "target": 3.5}),
    ("async", {"success_topic": TOPIC, "alarms": True}),
    ("batch", {"input": __file__, "strategy": "MultiRecord", "payload": 25, "transforms": 4}),
]

SOUND = {"EndpointStatus": "InService", "EndpointConfigName": "other", "EndpointArn": "arn:aws:sagemaker:eu-west-1:1:endpoint/synpg"}


def names(mode: str = "serverless", **changes) -> Names:
    return Names(**{"name": "synpg", "mode": mode, "region": "eu-west-1", "account": ACCOUNT, **changes})


def nothing(mode: str, **changes) -> Found:
    """The state of an empty account."""
    return Found(**{"names": names(mode), "image": IMAGE, "bucket": "models", "model_sha256": "0f" * 32, **changes})


def planned(mode: str, given: dict, **changes):
    return plan(nothing(mode, **changes), settings(mode, given), Path("model_store/synpg.tar.gz"), "20300101-120000", **{})


def operations(steps) -> list[str]:
    return [step.operation for step in steps if isinstance(step, (Call, Wait))]


# what is sent


@cache
def service(name: str):
    model = botocore.session.get_session().get_service_model(name)
    return {xform_name(operation): model.operation_model(operation) for operation in model.operation_names}


def check_values(value, shape, where: str = "") -> None:
    """What ParamValidator leaves to the service: enumerations, patterns, the highest numbers and lengths."""
    if shape.type_name == "structure":
        for key, item in value.items():
            check_values(item, shape.members[key], f"{where}.{key}")
    elif shape.type_name == "list":
        for item in value:
            check_values(item, shape.member, where)
    elif shape.type_name == "map":
        for item in value.values():
            check_values(item, shape.value, where)
    elif shape.type_name == "string":
        assert not shape.enum or value in shape.enum, f"{where}: {value}"
        assert len(value) <= shape.metadata.get("max", 1 << 30), where
        if (pattern := shape.metadata.get("pattern")) and "\\p{" not in pattern and "\\u" not in pattern:
            assert re.fullmatch(pattern, value), f"{where}: {value} is not {pattern}"
    elif shape.type_name in ("integer", "float", "double", "long"):
        assert shape.metadata.get("min", value) <= value <= shape.metadata.get("max", value), f"{where}: {value}"


def check_steps(steps) -> int:
    """Every call against botocore's description of the service. How many there were."""
    count = 0
    for step in steps:
        if isinstance(step, (Call, Wait)):
            operation = service(step.service)[step.operation]
            known = {"from-zero": {"PolicyARN": "arn:aws:x"}}
            sent = steps_of.resolve({k: v for k, v in step.arguments.items() if k != "Body"}, known)
            assert "${" not in json.dumps(sent), step
            report = ParamValidator().validate(sent, operation.input_shape)
            assert not report.has_errors(), f"{step.operation}: {report.generate_report()}"
            check_values(sent, operation.input_shape, step.operation)
            count += 1
    return count


@pytest.mark.parametrize("mode, given", [*ASKED.items(), *MORE])
def test_every_call_is_one_that_the_service_knows(mode, given):
    assert check_steps(planned(mode, given).steps) >= 9
    old = nothing(
        mode,
        bucket_exists=True,
        model_uploaded=True,
        role_exists=True,
        models=frozenset(["synpg-x-00000000"]),
        configs=frozenset(["synpg-x-00000001"]),
        alarms=frozenset(names(mode).alarms.values()),
        targets={scaling.INSTANCES: ("p",)},
        endpoint={
            "EndpointStatus": "InService",
            "EndpointConfigName": "synpg-x-00000001",
            "EndpointArn": f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:endpoint/synpg-{mode}",
        }
        if mode != "batch"
        else None,
    )
    assert check_steps(plan(old, settings(mode, given), Path("m.tar.gz"), "20300101-120000").steps)


def test_removal_and_push_are_ones_that_the_services_know():
    remains = removal.Remains(
        names("async"),
        "Creating",
        ("synpg-batch-20300101-120000",),
        ("c",),
        ("m",),
        ("synpg-async-errors",),
        {scaling.INSTANCES: ("p",)},
        ("access",),
        {"models": ["k"] * 1001},
        {"models": ["o"]},
        True,
    )
    shared = removal.Shared("", {"models": "", "others": "it holds other things too"})
    steps = removal.plan(remains, everything=True) + removal.plan_shared(shared)
    assert check_steps(steps) == len(steps) == 18
    assert check_steps(push.plan(names(), "here:1", f"{IMAGE.uri.split('@')[0]}", "synpg-torchserve", "1", exists=False)) == 3


def dry_run_text() -> str:
    """The calls of each mode, one a line."""
    lines = []
    for mode, given in ASKED.items():
        lines.append(f"# {mode} {json.dumps(given)}")
        for call in steps_of.show(planned(mode, given).steps):
            again = f"  # again until {call['again_until']}" if "again_until" in call else ""
            lines.append(f"{call['service']} {call['operation']} {json.dumps(call['arguments'])}{again}")
    return "\n".join(lines).replace(__version__, "VERSION") + "\n"


def test_dry_run_is_what_was_reviewed():
    assert dry_run_text() == GOLDEN.read_text(encoding="utf-8"), "if this is meant: python -m tests.aws.test_plans, and read the diff"


# what depends on what is there


def test_what_is_there_is_not_made_again():
    first = planned("serverless", {})
    same = dict(
        bucket_exists=True,
        model_uploaded=True,
        role_exists=True,
        models=frozenset([first.result["model"]]),
        configs=frozenset([first.result["endpoint_config"]]),
        endpoint={**SOUND, "EndpointConfigName": first.result["endpoint_config"]},
    )
    again = planned("serverless", {}, **same)
    assert operations(again.steps) == ["put_role_policy", "describe_endpoint"] and again.result == first.result
    bigger = planned("serverless", {"memory": 4096}, **same)
    assert operations(bigger.steps) == [
        "put_role_policy",
        "create_endpoint_config",
        "update_endpoint",
        "add_tags",
        "describe_endpoint",
        "delete_endpoint_config",
    ]
    assert bigger.steps[-1].arguments == {"EndpointConfigName": first.result["endpoint_config"]}


@pytest.mark.parametrize(
    "status, expected",
    [
        ("Failed", ["delete_endpoint", "describe_endpoint", "create_endpoint", "describe_endpoint"]),
        ("InService", ["update_endpoint", "add_tags", "describe_endpoint"]),
    ],
)
def test_a_broken_endpoint_is_replaced_and_a_sound_one_updated(status, expected):
    steps = planned("realtime", {}, endpoint={**SOUND, "EndpointStatus": status}).steps
    assert operations(steps)[-len(expected) :] == expected


def test_an_endpoint_in_motion_is_left_alone():
    with pytest.raises(AwsError, match="synpg-realtime is Updating; wait"):
        planned("realtime", {}, endpoint={"EndpointStatus": "Updating", "EndpointConfigName": "other"})


def test_autoscaling_is_lifted_before_an_update_and_what_it_came_to_is_kept():
    there = dict(endpoint=SOUND, targets={scaling.INSTANCES: ("p",)})
    steps = planned("realtime", {"max_count": 4}, **there).steps
    order = operations(steps)
    assert order.index("deregister_scalable_target") < order.index("update_endpoint") < order.index("register_scalable_target")
    assert steps[order.index("update_endpoint")].arguments["RetainAllVariantProperties"] is True
    without = planned("realtime", {}, **there).steps
    assert "register_scalable_target" not in operations(without) and "deregister_scalable_target" in operations(without)


def test_alarms_no_longer_asked_for_go():
    steps = planned("realtime", {}, alarms=frozenset(["synpg-realtime-errors", "synpg-realtime-latency"])).steps
    [forgotten] = [step for step in steps if step.operation == "delete_alarms"]
    assert forgotten.arguments == {"AlarmNames": ["synpg-realtime-errors", "synpg-realtime-latency"]}


def test_async_leaves_zero_for_one_request():
    steps = planned("async", {"max_count": 2}).steps
    assert operations(steps)[-4:] == ["register_scalable_target", "put_scaling_policy", "put_scaling_policy", "put_metric_alarm"]
    assert steps[-4].arguments["MinCapacity"] == 0 and steps[-2].save == "from-zero"
    assert steps[-1].arguments["AlarmActions"] == ["${from-zero.PolicyARN}"]
    assert steps[-1].arguments["MetricName"] == "HasBacklogWithoutCapacity"


# who may do what


def actions(document: dict) -> set[str]:
    return {action for statement in document["Statement"] for action in statement["Action"]}


def test_the_role_may_read_its_model_and_no_more():
    document = json.loads(
        next(step for step in planned("serverless", {}).steps if step.operation == "put_role_policy").arguments["PolicyDocument"]
    )
    statements = {statement["Sid"]: statement for statement in document["Statement"]}
    assert statements["PullImage"]["Resource"] == [IMAGE.repository_arn]
    assert statements["ReadModel"]["Resource"] == ["arn:aws:s3:::models/synpg-serverless/model/*"]
    assert not any(":*" in action or action == "*" or "Delete" in action for action in actions(document))
    assert [s["Sid"] for s in document["Statement"] if s["Resource"] == "*"] == ["LogInToRegistry", "WriteMetrics"]
    assert "WriteResults" not in statements
    asynchronous = planned("async", {"success_topic": TOPIC}).steps
    text = next(step for step in asynchronous if step.operation == "put_role_policy").arguments["PolicyDocument"]
    assert "arn:aws:s3:::models/synpg-async/output/*" in text and TOPIC in text
    batch = next(step for step in planned("batch", ASKED["batch"]).steps if step.operation == "put_role_policy")
    assert "arn:aws:s3:::mine/requests/*" in batch.arguments["PolicyDocument"]


def test_a_role_of_the_callers_is_taken_as_it_is():
    steps = plan(nothing("realtime"), settings("realtime", {}), Path("m"), "", "arn:aws:iam::1:role/mine").steps
    assert not [step for step in steps if step.service == "iam"]
    assert next(s for s in steps if s.operation == "create_model").arguments["ExecutionRoleArn"] == "arn:aws:iam::1:role/mine"


def test_images_in_use_do_not_vanish_with_time():
    rules = policies.lifecycle()["rules"]
    assert {rule["selection"]["countType"] for rule in rules} == {"imageCountMoreThan"}
    assert [rule["selection"]["tagStatus"] for rule in rules] == ["untagged", "any"]  # "any" must come last


def test_the_password_is_never_an_argument():
    steps = push.plan(names(), "here:1", "host/repo", "repo", "1", exists=True)
    login = next(step for step in steps if isinstance(step, Run))
    assert login.secret == "${login.authorizationData[0].authorizationToken}" and login.secret not in login.command
    assert login.command[1:] == ("login", "--username", "AWS", "--password-stdin", "host")


def test_keys_and_checksums():
    assert model_key(names("async"), "ab" * 32) == "synpg-async/model/abababababababab/model.tar.gz"
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1})


if __name__ == "__main__":
    GOLDEN.write_text(dry_run_text(), encoding="utf-8")

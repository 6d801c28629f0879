"""Autoscaling and alarms of an endpoint: functions from names and settings to steps, without side effects."""

from scripts.aws.names import VARIANT, Names, pairs
from scripts.aws.plan import Call
from scripts.aws.settings import Settings

INSTANCES, CONCURRENCY = "sagemaker:variant:DesiredInstanceCount", "sagemaker:variant:DesiredProvisionedConcurrency"
# What one instance should get: invocations a minute, requests at once, requests waiting; and how much of what is warm is in use.
TARGETS = {"invocations": 200.0, "concurrency": 4.0, "backlog": 5.0, "utilization": 0.7}
METRICS = {
    "invocations": "SageMakerVariantInvocationsPerInstance",
    "concurrency": "SageMakerVariantConcurrentRequestsPerModelHighResolution",
    "utilization": "SageMakerVariantProvisionedConcurrencyUtilization",
}
SLOW, QUICK = 300, 60  # s between two steps in, two steps out


def dimension(s: Settings) -> str:
    return CONCURRENCY if s.mode == "serverless" else INSTANCES


def register(names: Names, s: Settings) -> list[Call]:
    """Steps that let Application Auto Scaling choose the number of instances or warm containers."""
    if not s.scaled:
        return []
    place = {"ServiceNamespace": "sagemaker", "ResourceId": names.resource, "ScalableDimension": dimension(s)}
    low, high = (s.provisioned, s.max_provisioned) if s.mode == "serverless" else (s.min_count, s.max_count)
    kind = {"serverless": "utilization", "async": "backlog"}.get(s.mode, s.scale_on)
    steps = [
        Call(
            f"autoscaling from {low} to {high}",
            "application-autoscaling",
            "register_scalable_target",
            {**place, "MinCapacity": low, "MaxCapacity": high, "Tags": names.tags() | s.tags},
        ),
        Call(
            f"autoscaling by {kind}",
            "application-autoscaling",
            "put_scaling_policy",
            {
                "PolicyName": names.policy(kind),
                **place,
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": tracking(names, kind, s.target or TARGETS[kind]),
            },
        ),
    ]
    if s.mode == "async" and low == 0:
        # Target tracking alone leaves zero only when the backlog passes its target; this step leaves it for one request.
        steps += [
            Call(
                "autoscaling from zero",
                "application-autoscaling",
                "put_scaling_policy",
                {
                    "PolicyName": names.policy("from-zero"),
                    **place,
                    "PolicyType": "StepScaling",
                    "StepScalingPolicyConfiguration": {
                        "AdjustmentType": "ChangeInCapacity",
                        "MetricAggregationType": "Average",
                        "Cooldown": SLOW,
                        "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
                    },
                },
                save="from-zero",
            ),
            Call(
                "alarm that starts it",
                "cloudwatch",
                "put_metric_alarm",
                {
                    "AlarmName": names.alarms["backlog"],
                    "AlarmDescription": "Requests wait and there is no instance.",
                    "AlarmActions": ["${from-zero.PolicyARN}"],
                    "Namespace": "AWS/SageMaker",
                    "MetricName": "HasBacklogWithoutCapacity",
                    "Dimensions": [{"Name": "EndpointName", "Value": names.deployment}],
                    "Statistic": "Average",
                    "Period": 60,
                    "EvaluationPeriods": 2,
                    "DatapointsToAlarm": 2,
                    "Threshold": 1,
                    "ComparisonOperator": "GreaterThanOrEqualToThreshold",
                    "TreatMissingData": "missing",
                    "Tags": pairs(names.tags() | s.tags),
                },
            ),
        ]
    return steps


def tracking(names: Names, kind: str, target: float) -> dict:
    """A policy that holds a metric at a value."""
    settings = {"TargetValue": target, "ScaleInCooldown": SLOW, "ScaleOutCooldown": QUICK}
    if kind == "backlog":
        return settings | {
            "CustomizedMetricSpecification": {
                "Namespace": "AWS/SageMaker",
                "MetricName": "ApproximateBacklogSizePerInstance",
                "Statistic": "Average",
                "Dimensions": [{"Name": "EndpointName", "Value": names.deployment}],
            }
        }
    return settings | {"PredefinedMetricSpecification": {"PredefinedMetricType": METRICS[kind]}}


def deregister(names: Names, targets: dict) -> list[Call]:
    """Steps that end autoscaling: its policies (which take their own alarms along), then each scalable dimension."""
    where = {"ServiceNamespace": "sagemaker", "ResourceId": names.resource}
    return [
        step
        for each, policies in targets.items()
        for step in (
            *(
                Call(
                    f"deleting scaling policy {policy}",
                    "application-autoscaling",
                    "delete_scaling_policy",
                    {"PolicyName": policy, **where, "ScalableDimension": each},
                    ignore_errors=("ObjectNotFoundException",),
                )
                for policy in policies
            ),
            Call(
                f"ending autoscaling of {names.deployment}",
                "application-autoscaling",
                "deregister_scalable_target",
                {**where, "ScalableDimension": each},
                ignore_errors=("ObjectNotFoundException",),
            ),
        )
    ]


def watch(names: Names, s: Settings) -> list[Call]:
    """Alarms on errors of the server and on slow answers."""
    if not s.alarms:
        return []
    common = {
        "Namespace": "AWS/SageMaker",
        "TreatMissingData": "notBreaching",
        "Tags": pairs(names.tags() | s.tags),
        "Dimensions": [{"Name": "EndpointName", "Value": names.deployment}, {"Name": "VariantName", "Value": VARIANT}],
        **({"AlarmActions": [s.alarm_topic], "OKActions": [s.alarm_topic]} if s.alarm_topic else {}),
    }
    return [
        Call(
            "alarm on server errors",
            "cloudwatch",
            "put_metric_alarm",
            {
                "AlarmName": names.alarms["errors"],
                "AlarmDescription": "The container answered with a 5xx.",
                "MetricName": "Invocation5XXErrors",
                "Statistic": "Sum",
                "Period": 60,
                "EvaluationPeriods": 1,
                "Threshold": 0,
                "ComparisonOperator": "GreaterThanThreshold",
                **common,
            },
        ),
        Call(
            "alarm on slow answers",
            "cloudwatch",
            "put_metric_alarm",
            {
                "AlarmName": names.alarms["latency"],
                "AlarmDescription": f"One answer in a hundred took longer than {s.latency_alarm:g} s, three minutes running.",
                "MetricName": "ModelLatency",
                "ExtendedStatistic": "p99",
                "Period": 60,
                "EvaluationPeriods": 3,
                "Threshold": s.latency_alarm * 1e6,
                "ComparisonOperator": "GreaterThanThreshold",
                **common,
            },
        ),
    ]  # microseconds


def wanted_alarms(names: Names, s: Settings) -> set[str]:
    return {step.arguments["AlarmName"] for step in (*register(names, s), *watch(names, s)) if step.operation == "put_metric_alarm"}


def forget(alarms) -> list[Call]:
    """One step that deletes alarms, if there are any."""
    which = sorted(alarms)
    return [Call(f"deleting alarms {', '.join(which)}", "cloudwatch", "delete_alarms", {"AlarmNames": which})] if alarms else []

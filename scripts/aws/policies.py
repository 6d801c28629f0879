"""Policy documents with the fewest permissions that do. Functions from names to documents, without side effects."""

from collections.abc import Sequence

from scripts.aws.names import MODES, PROJECT, REPOSITORY, Names


def document(*statements: dict) -> dict:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(sid: str, actions: list[str], resources: list[str] | str, **condition) -> dict:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    return statement | ({"Condition": condition} if condition else {})


def trust(names: Names) -> dict:
    """The trust policy: only SageMaker may assume the role, and only for this account."""
    return document(
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": names.account}},
        }
    )


def execution(
    names: Names, repository_arn: str, models: str, reads: Sequence[str] = (), writes: Sequence[str] = (), topics: Sequence[str] = ()
) -> dict:
    """The policy of the execution role: this image, this model, logs, metrics, and the results where there are any.

    `models`, `reads` and `writes` are places in S3 as bucket/prefix. A model's predecessors stay readable: while an endpoint
    is being updated, the old one may need its own again.
    """
    arn = f"arn:{names.partition}"
    folders = sorted({place.split("/")[0] for place in (models, *reads, *writes)})
    statements = [
        allow("PullImage", ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], [repository_arn]),
        allow("LogInToRegistry", ["ecr:GetAuthorizationToken"], "*"),
        allow("ReadModel", ["s3:GetObject"], [f"{arn}:s3:::{models}", *(f"{arn}:s3:::{place}*" for place in reads)]),
        allow("FindObjects", ["s3:ListBucket", "s3:GetBucketLocation"], [f"{arn}:s3:::{folder}" for folder in folders]),
        allow(
            "WriteLogs",
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            [f"{arn}:logs:{names.region}:{names.account}:log-group:/aws/sagemaker/*"],
        ),
        allow(
            "WriteMetrics", ["cloudwatch:PutMetricData"], "*", StringLike={"cloudwatch:namespace": ["AWS/SageMaker", "/aws/sagemaker/*"]}
        ),
    ]
    if writes:
        statements.append(allow("WriteResults", ["s3:PutObject", "s3:AbortMultipartUpload"], [f"{arn}:s3:::{place}*" for place in writes]))
    if topics:
        statements.append(allow("Notify", ["sns:Publish"], list(topics)))
    return document(*statements)


def lifecycle(tagged: int = 20, untagged: int = 5) -> dict:
    """The lifecycle of images: by count, not by age, since an endpoint may run an old image."""

    def rule(priority: int, status: str, count: int, text: str) -> dict:
        return {
            "rulePriority": priority,
            "description": text,
            "action": {"type": "expire"},
            "selection": {"tagStatus": status, "countType": "imageCountMoreThan", "countNumber": count},
        }

    return {
        "rules": [
            rule(1, "untagged", untagged, f"of the images that lost their tag, the {untagged} newest stay"),
            rule(2, "any", tagged, f"of all images, the {tagged} newest stay"),
        ]
    }


def deployer(
    name: str = PROJECT,
    region: str = "${region}",
    account: str = "${account}",
    partition: str = "aws",
    bucket: str = "",
    repository: str = REPOSITORY,
) -> dict:
    """The policy of a person who pushes, deploys, calls and deletes: the calls of the commands, on the resources that they name."""
    arn = f"arn:{partition}"
    own, bucket = f"{name}-*", bucket or f"sagemaker-{region}-{account}"
    sagemaker = f"{arn}:sagemaker:{region}:{account}"
    kinds = ("endpoint", "endpoint-config", "model", "transform-job")  # in their ARNs names are in lower case
    alarms = [f"{arn}:cloudwatch:{region}:{account}:alarm:{own}"]
    return document(
        allow(
            "Images",
            [
                "ecr:CreateRepository",
                "ecr:DescribeRepositories",
                "ecr:DescribeImages",
                "ecr:ListTagsForResource",
                "ecr:TagResource",
                "ecr:PutLifecyclePolicy",
                "ecr:InitiateLayerUpload",
                "ecr:UploadLayerPart",
                "ecr:CompleteLayerUpload",
                "ecr:PutImage",
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
                "ecr:DeleteRepository",
            ],
            [f"{arn}:ecr:{region}:{account}:repository/{repository}"],
        ),
        allow("LogInToRegistry", ["ecr:GetAuthorizationToken", "sts:GetCallerIdentity"], "*"),
        allow(
            "Role",
            [
                "iam:CreateRole",
                "iam:GetRole",
                "iam:TagRole",
                "iam:PutRolePolicy",
                "iam:ListRolePolicies",
                "iam:DeleteRolePolicy",
                "iam:DeleteRole",
            ],
            [f"{arn}:iam::{account}:role/{name}-{mode}-{region}" for mode in MODES],
        ),
        allow(
            "HandRoleToSageMaker",
            ["iam:PassRole"],
            [f"{arn}:iam::{account}:role/{name}-{mode}-{region}" for mode in MODES],
            StringEquals={"iam:PassedToService": "sagemaker.amazonaws.com"},
        ),
        allow(
            "Bucket",
            [
                "s3:CreateBucket",
                "s3:DeleteBucket",
                "s3:ListBucket",
                "s3:GetBucketLocation",
                "s3:GetBucketTagging",
                "s3:PutBucketTagging",
                "s3:PutBucketPublicAccessBlock",
            ],
            [f"{arn}:s3:::{bucket}"],
        ),
        allow("Objects", ["s3:GetObject", "s3:PutObject", "s3:PutObjectTagging", "s3:DeleteObject"], [f"{arn}:s3:::{bucket}/{own}/*"]),
        allow(
            "Serve",
            [f"sagemaker:{verb}{kind}" for kind in ("Model", "EndpointConfig", "Endpoint") for verb in ("Create", "Describe", "Delete")]
            + [
                "sagemaker:UpdateEndpoint",
                "sagemaker:InvokeEndpoint",
                "sagemaker:InvokeEndpointAsync",
                "sagemaker:CreateTransformJob",
                "sagemaker:DescribeTransformJob",
                "sagemaker:StopTransformJob",
                "sagemaker:AddTags",
                "sagemaker:ListTags",
            ],
            [f"{sagemaker}:{kind}/{own.lower()}" for kind in kinds],
        ),
        allow(
            "List",
            [
                "sagemaker:ListModels",
                "sagemaker:ListEndpoints",
                "sagemaker:ListEndpointConfigs",
                "sagemaker:ListTransformJobs",
                "cloudwatch:DescribeAlarms",
                "logs:DescribeLogGroups",
                "application-autoscaling:DescribeScalableTargets",
                "application-autoscaling:DescribeScalingPolicies",
            ],
            "*",
        ),
        allow(
            "Scale",
            [
                "application-autoscaling:RegisterScalableTarget",
                "application-autoscaling:DeregisterScalableTarget",
                "application-autoscaling:PutScalingPolicy",
                "application-autoscaling:DeleteScalingPolicy",
                "application-autoscaling:TagResource",
            ],
            [f"{arn}:application-autoscaling:{region}:{account}:scalable-target/*"],
        ),
        allow("ScaleEndpoints", ["sagemaker:UpdateEndpointWeightsAndCapacities"], [f"{sagemaker}:endpoint/{own.lower()}"]),
        allow(
            "ScalingRole",
            ["iam:CreateServiceLinkedRole"],
            [f"{arn}:iam::*:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/*"],
            StringLike={"iam:AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com"},
        ),
        # Target tracking makes alarms of its own, TargetTracking-endpoint/…, on the caller's behalf.
        allow(
            "Alarms",
            ["cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms", "cloudwatch:TagResource"],
            [*alarms, f"{arn}:cloudwatch:{region}:{account}:alarm:TargetTracking-endpoint/{own}"],
        ),
        allow(
            "Logs",
            ["logs:DescribeLogStreams", "logs:GetLogEvents", "logs:DeleteLogGroup"],
            [
                f"{arn}:logs:{region}:{account}:log-group:/aws/sagemaker/Endpoints/{own}",
                f"{arn}:logs:{region}:{account}:log-group:/aws/sagemaker/TransformJobs*",
            ],
        ),
    )

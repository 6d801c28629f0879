"""What is said of a server that failed: the cause, found in its log."""

import pytest

from scripts.serving.diagnosis import SILENT, cause, until_told

WORKER = "2026-01-01T00:00:00,000 INFO  worker - "
LOADER = [WORKER + "Traceback (most recent call last):", WORKER + '  File "loader.py", line 1', WORKER + "    load()"]
JAVA_TRACE = ["java.lang.InterruptedException: null", "\tat org.pytorch.serve.wlm.WorkerThread.run(WorkerThread.java:234)"]
DIED = "2026-01-01T00:00:00,000 WARN  BatchAggregator - Load model failed: synpg, error: Worker died."


@pytest.mark.parametrize(
    "lines, expected",
    [
        (
            [*LOADER, *JAVA_TRACE, WORKER + "handler.errors.ArtifactError: vocab.json: expected 7, found 8", DIED],
            "handler.errors.ArtifactError: vocab.json: expected 7, found 8",
        ),
        # TorchServe tries its own handlers when an import fails, and reports that instead
        (
            [
                *LOADER,
                WORKER + "ModuleNotFoundError: No module named 'safetensors'",
                WORKER,
                *LOADER,
                WORKER + "ModuleNotFoundError: No module named 'ts.torch_handler.synpg_handler'",
                DIED,
            ],
            "ModuleNotFoundError: No module named 'safetensors'",
        ),
        (
            [*LOADER, WORKER + "RuntimeError: no GPU", *LOADER, WORKER + "RuntimeError: 500 - Unknown exception", DIED],
            "RuntimeError: no GPU",
        ),
        ([WORKER + "Torch worker started.", DIED], "the worker process ended without a message"),
        (
            ["Failed to bind.", "Caused by: io.netty.channel.unix.Errors$NativeIoException: bind(..) failed: in use"],
            "bind(..) failed: in use",
        ),
        (["Error: Could not create the Java Virtual Machine."], "Error: Could not create the Java Virtual Machine"),
        ([], "no message"),
    ],
)
def test_cause(lines, expected):
    assert cause("\n".join(lines)) == expected


def test_last_words_are_waited_for_until_the_log_tells():
    told = iter([SILENT, SILENT, "ValueError: x"])
    assert list(until_told(lambda: next(told))) == [1.0, 0.2, 0.2]
    assert len(list(until_told(lambda: SILENT))) == 26

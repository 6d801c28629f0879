# SynPG on TorchServe, for SageMaker and any Docker: `docker run -p 8080:8080 IMAGE serve`. scripts/container/README.md tells the rest.
#
#     docker build -t synpg-torchserve .                          CPU
#     docker build -t synpg-torchserve --build-arg DEVICE=gpu .   NVIDIA GPU; its CUDA 13 needs a driver of 580 or later
#
# `python -m scripts.build_image` does it and tells the sizes. No credentials and nothing but .dockerignore's exceptions go in.
ARG BASE=debian:bookworm-slim
ARG DEVICE=cpu

# ---------------------------------------------------------------- Java, cut down to the modules that TorchServe loads
FROM ${BASE} AS java
# Slim images have no folder for the manual pages that the JDK registers,
# and the installation warns of each; what it says is shown if it fails.
RUN mkdir -p /usr/share/man/man1 && apt-get update \
 && { apt-get install -y --no-install-recommends openjdk-17-jdk-headless binutils >/tmp/install.log 2>&1 \
      || { cat /tmp/install.log; exit 1; }; } \
 && rm -rf /var/lib/apt/lists/*
RUN jlink --output /opt/jre --strip-debug --no-header-files --no-man-pages \
      --add-modules java.base,java.desktop,java.instrument,java.logging,java.management,java.naming,java.sql,java.xml,jdk.crypto.ec,jdk.unsupported \
 # an archive of its classes: Java starts without reading and checking them one by one
 && /opt/jre/bin/java -Xshare:dump

# ---------------------------------------------------------------- Python packages
FROM ${BASE} AS packages
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv binutils && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/venv
COPY handler/requirements.txt /tmp/requirements.txt
ARG DEVICE
# PyPI's build of torch is the one for GPUs; PyTorch's own index has the one without.
ARG CPU_INDEX=https://download.pytorch.org/whl/cpu
RUN if [ "$DEVICE" = cpu ]; then sed -i 's/^\(torch==[0-9.]*\).*/\1+cpu/' /tmp/requirements.txt; fi \
 && /opt/venv/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check \
      $(if [ "$DEVICE" = cpu ]; then echo --extra-index-url "$CPU_INDEX"; fi) -r /tmp/requirements.txt
# What only building, testing and type checking need goes, and ONNX Runtime's second copy of itself, for programs in C. Not sympy
# and networkx, which torch imports; not the debug symbols of the other libraries, which do not survive it. Then everything is
# compiled, once, so that no start of a container has to.
RUN cd /opt/venv/lib/python3*/site-packages \
 && rm -rf torch/test torch/include torch/share nvidia/*/include pip pip-* setuptools setuptools-* _distutils_hack \
      distutils-precedence.pth pkg_resources wheel wheel-* sympy/*/tests sympy/*/*/tests sympy/*/*/*/tests networkx/tests \
      networkx/*/tests networkx/*/*/tests numpy/tests numpy/*/tests torch/utils/benchmark \
      onnxruntime/tools onnxruntime/quantization onnxruntime/transformers onnxruntime/backend onnxruntime/datasets \
      onnxruntime/capi/libonnxruntime.so.* \
 && find torch/bin -type f ! -name torch_shm_manager -delete \
 && find . -name '*.pyi' -delete && find . -name '*.a' -delete \
 && if [ "$DEVICE" = cpu ]; then strip --strip-unneeded torch/lib/libtorch_cpu.so torch/lib/libtorch_python.so; fi \
 && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash . || true

# ---------------------------------------------------------------- our code and the model
FROM packages AS code
WORKDIR /opt/synpg
# Netty's native libraries, out of their jar: it would unpack them into the temporary folder, which may forbid to run them.
RUN /opt/venv/bin/python -m zipfile -e /opt/venv/lib/python3*/site-packages/ts/frontend/model-server.jar /tmp/jar \
 && mkdir native && mv /tmp/jar/META-INF/native/lib*netty_transport_native_epoll_$(uname -m).so native && rm -r /tmp/jar
COPY config.properties ./
COPY model_store ./model_store
COPY handler ./handler
COPY scripts ./scripts
ARG DEVICE
RUN /opt/venv/bin/python -m scripts.container.bake model "$DEVICE" \
 # the model brings its own handler/; of this one the commands need the version, and TorchServe its metrics
 && mkdir kept && mv handler/__init__.py handler/metrics.yaml kept \
 && rm -rf handler model_store scripts/serving/archive.py scripts/serving/served.py scripts/common/artifact_files.py \
      scripts/container/bake.py scripts/container/image.py \
 && mv kept handler \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash model handler scripts

# ---------------------------------------------------------------- the image
FROM ${BASE} AS base
RUN apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
COPY --from=java /opt/jre /opt/jre
COPY --from=packages /opt/venv /opt/venv
ENV JAVA_HOME=/opt/jre PATH=/opt/venv/bin:/opt/jre/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2

FROM base AS cpu
ENV SYNPG_DEVICE=cpu

FROM base AS gpu
# The driver comes from the host. No NVIDIA_REQUIRE_CUDA: the container would not start, and nothing would say why; the entry
# point does.
ENV SYNPG_DEVICE=gpu NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM ${DEVICE}
ARG VERSION=unknown
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true \
      com.amazonaws.sagemaker.capabilities.multi-models=true \
      org.opencontainers.image.title="SynPG on TorchServe" \
      org.opencontainers.image.version="${VERSION}"
WORKDIR /opt/synpg
COPY --from=code /opt/synpg /opt/synpg
# Java loads TorchServe's classes out of an archive. Writing it runs the container once: what does not serve is not built.
RUN python -m scripts.container.class_archive /opt/jre/lib/torchserve.jsa
EXPOSE 8080
ENTRYPOINT ["python", "-m", "scripts.container"]
CMD ["serve"]

# docker build -t se600m .                     on the processor
# docker build -t se600m:cuda --target cuda .  for NVIDIA GPUs: docker run --gpus all
# docker run --rm -v "$PWD:/data" se600m embed cells.h5ad embedded.h5ad
#
# Models and conversions are kept in /cache. Give it a named volume (-v se600m:/cache), or they are gone with the
# container; a folder of the host's would hide what the image for GPUs has there.
ARG PYTHON=3.12
ARG GO=1.26

FROM golang:${GO}-bookworm AS go

FROM python:${PYTHON}-slim-bookworm AS build
# Any version of Debian's compiler will do.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=go /usr/local/go /usr/local/go
ENV PATH=/usr/local/go/bin:$PATH
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps -w /wheels .

FROM python:${PYTHON}-slim-bookworm AS cpu
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir /wheels/*.whl \
    && useradd --uid 1000 --create-home se600m \
    && mkdir /cache /data \
    && chown se600m /cache /data
USER 1000
ENV SE600M_CACHE=/cache SE600M_CONFIG=/cache/config
WORKDIR /data
RUN se600m doctor
ENTRYPOINT ["se600m"]
CMD ["--help"]

# With ONNX Runtime's GPU build and the libraries of CUDA. The driver is the host's.
FROM cpu AS cuda
RUN se600m runtime install cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

# What `docker build .` makes.
FROM cpu

# docker build -t se600m .                     on the processor
# docker build -t se600m:cuda --target cuda .  for NVIDIA GPUs: docker run --gpus all
# docker run --rm --user "$(id -u):$(id -g)" -v se600m:/cache -v "$PWD:/data" se600m embed cells.h5ad embedded.h5ad
#
# --user makes the files that are written yours; the image works for any user. Models, conversions and accepted licences
# are kept in /cache. Give it a named volume, as above, or they are gone with the container; a folder of the host's would
# hide what the image for GPUs has there.
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
    && useradd --uid 1000 --home-dir /cache se600m \
    && install --directory --owner 1000 --mode 777 /cache /data
USER 1000
# A user that the image does not know has no home of its own.
ENV HOME=/cache SE600M_CACHE=/cache SE600M_CONFIG=/cache/config
WORKDIR /data
RUN se600m doctor && chmod --recursive a+rwX /cache
ENTRYPOINT ["se600m"]
CMD ["--help"]

# With ONNX Runtime's GPU build and the libraries of CUDA. The driver is the host's.
FROM cpu AS cuda
RUN se600m runtime install cuda && chmod --recursive a+rwX /cache
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

# What `docker build .` makes.
FROM cpu

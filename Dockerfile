# The detection service: a user without rights, no file to write. docs/serverless.md says how to deploy it.
#
#     docker build --tag pure-detect .
#     docker run --rm --read-only --cap-drop ALL --publish 8080:8080 pure-detect
#
# MODELS are registry names, whose weights are downloaded while the image is built. Kernels are compiled here for CPU, and
# used wherever the service runs: so CPU is the least that it may run on. haswell is any x86-64 server since 2013, with
# AVX2; for ARM build with --build-arg CPU=neoverse-n1.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ARG CPU=haswell
ARG MODELS=yolo-fastest-1.1-xl
ENV NUMBA_CPU_NAME=${CPU} \
    NUMBA_CPU_FEATURES= \
    PURE_DETECT_SERVE_MODELS=${MODELS}
COPY . /source
RUN sh /source/container/prepare.sh /source /opt/pure-detect

FROM python:${PYTHON}-slim
ARG CPU=haswell
ARG MODELS=yolo-fastest-1.1-xl
ENV NUMBA_CPU_NAME=${CPU} \
    NUMBA_CPU_FEATURES= \
    PATH=/opt/pure-detect/venv/bin:${PATH} \
    PURE_DETECT_HOME=/opt/pure-detect/home \
    PURE_DETECT_SERVE_HOST=0.0.0.0 \
    PURE_DETECT_SERVE_MODELS=${MODELS}
COPY --from=build /opt/pure-detect /opt/pure-detect
USER 65534:65534
EXPOSE 8080
CMD ["python", "-m", "gunicorn", "--config", "/opt/pure-detect/gunicorn.conf.py"]

# das-explain on a CPU, with everything but groundingdino-py and Ray:
#
#   docker build -t das-explain .
#   docker run --rm -v "$PWD:/work" das-explain demo
#   docker run --rm -v "$PWD:/work" -v das-explain-cache:/cache das-explain sfd photos/ --model ... --out runs/mine
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE NOTICE ./
COPY das_explain das_explain
COPY models models
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# The CPU build of torch from its own index: without it pip takes the CUDA build, several gigabytes larger.
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/das_explain-*.whl)[segment,timm,train,detection,heic]" && rm -r /wheels
ENV DAS_EXPLAIN_CACHE=/cache/das-explain HF_HOME=/cache/huggingface TORCH_HOME=/cache/torch
RUN useradd --create-home user && mkdir /cache /work && chown user /cache /work
USER user
WORKDIR /work
ENTRYPOINT ["das-explain"]
CMD ["--help"]

"""The values of a pool, by Kubernetes' own rules: what the API server or KubeRay would refuse later is refused here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, JsonValue

from sweeps.targets.kubernetes.environment import is_ours


def _like(pattern: str, length: int, rule: str) -> AfterValidator:
    def check(text: str) -> str:
        if len(text) > length or not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(f"must be {rule}, but got {text!r}")
        return text

    return AfterValidator(check)


def _not_ours(*prefixes: str) -> AfterValidator:
    def check(key: str) -> str:
        if key.startswith(prefixes):
            raise ValueError(f"{key} is set by gradsweep, KubeRay or Kueue")
        return key

    return AfterValidator(check)


def _free(variable: str) -> str:
    if is_ours(variable):
        raise ValueError(f"{variable} is set by gradsweep or KubeRay")
    return variable


def _pinned(image: str) -> str:
    if "@sha256:" not in image and image.rpartition("/")[2].partition(":")[2] in ("", "latest"):
        raise ValueError(f"must be pinned by a tag or a digest, but got {image!r}")
    return image


_DOMAIN, _WORD = r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", r"[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?"

Image = Annotated[str, AfterValidator(_pinned)]
Quantity = Annotated[str, _like(r"[1-9][0-9]*(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?", 20, "a quantity like 16Gi")]
Name = Annotated[str, _like(_DOMAIN, 253, "a name of lower-case letters, digits, - and .")]
GroupName = Annotated[str, _like("[a-z]([-a-z0-9]*[a-z0-9])?", 63, "a name of lower-case letters, digits and -")]
Resource = Annotated[str, _like(f"{_DOMAIN}/{_WORD}", 253, "a resource like nvidia.com/gpu")]
Key = Annotated[str, _like(f"({_DOMAIN}/)?{_WORD}", 317, "a key like example.com/team")]
LabelValue = Annotated[str, _like(f"({_WORD})?", 63, "at most 63 letters, digits, -, _ and .")]
Label = Annotated[Key, _not_ours("app.kubernetes.io/", "gradsweep/", "kueue.x-k8s.io/", "ray.io/")]
Annotation = Annotated[Key, _not_ours("gradsweep/", "kueue.x-k8s.io/elastic-job", "ray.io/")]
Variable = Annotated[str, _like(r"[A-Za-z_]\w*", 253, "a variable's name"), AfterValidator(_free)]
SecretsKey = Annotated[str, _like(r"[-\w.]+", 253, "a Secret's key")]
Structure: TypeAlias = Mapping[str, JsonValue]  # Kubernetes' own, in its own words

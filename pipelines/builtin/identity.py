"""identity: passes everything on unchanged."""

from __future__ import annotations

from tolmach.pipelines.element import Element, ElementSpec, Pad, Settings


class IdentitySettings(Settings):
    """identity has no settings."""


class Identity(Element):
    """Passes everything on; the contract's default behaviour is all it needs."""


SPEC = ElementSpec(
    type="identity",
    summary="Pass everything on unchanged.",
    settings=IdentitySettings,
    pads=(Pad.sink(), Pad.src(like="sink")),
    passthrough=True,
    build="tolmach.pipelines.builtin.identity:Identity",
    example="{type: identity}",
)

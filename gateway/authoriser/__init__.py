"""Who decides by user and resource beyond tokens, if somebody does: a webhook, or a Python function."""

from __future__ import annotations

from gateway.authoriser.hook import HookAuthoriser
from gateway.config import Config, extras
from gateway.ports import Authoriser

__all__ = ["authoriser_of"]


def authoriser_of(config: Config) -> Authoriser | None:
    """The one that the configuration names; raises ConfigError where it can't be had."""
    settings = config.authoriser
    if settings.hook:
        return HookAuthoriser(settings.hook, settings.visible)
    if not settings.url:
        return None
    extras.AUTHORISER.require()
    from gateway.authoriser.webhook import WebhookAuthoriser

    return WebhookAuthoriser(settings)

"""Who decides by user and resource beyond tokens, if somebody does: a webhook, or a Python function."""

from __future__ import annotations

from gateway.authoriser.hook import HookAuthoriser
from gateway.config import Config
from gateway.errors import ConfigError
from gateway.ports import Authoriser

__all__ = ["authoriser_of"]


def authoriser_of(config: Config) -> Authoriser | None:
    """The one that the configuration names; raises ConfigError where it can't be had."""
    settings = config.authoriser
    if settings.hook:
        return HookAuthoriser(settings.hook, settings.visible)
    if not settings.url:
        return None
    try:
        from gateway.authoriser.webhook import WebhookAuthoriser  # needs httpx
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"authoriser.url is set, and {error.name} isn't installed: "
            "pip install 'collab-gateway[authoriser]', or leave authoriser.url out"
        ) from None
    return WebhookAuthoriser(settings)

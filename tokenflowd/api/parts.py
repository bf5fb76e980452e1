"""The parts of messages that are no text."""

from __future__ import annotations

from typing import Any

IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})
MEDIA_PARTS = IMAGE_PARTS | {"input_audio", "audio", "file", "input_file", "video_url", "audio_url"}


def holds(messages: Any, kinds: frozenset[str]) -> bool:
    """Whether any part of a message is of one of these kinds; False for what is no messages."""
    return isinstance(messages, list) and any(
        isinstance(part, dict) and str(part.get("type")) in kinds
        for message in messages
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for part in message["content"]
    )

"""The parts of messages that are no text."""

from __future__ import annotations

from collections.abc import Sequence

from tokenflowd.compress.chat import ChatMessage

IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})
MEDIA_PARTS = IMAGE_PARTS | {"input_audio", "audio", "file", "input_file", "video_url"}


def holds(messages: Sequence[ChatMessage], kinds: frozenset[str]) -> bool:
    """Whether any part of a message is of one of these kinds."""
    contents = (message.get("content") for message in messages)
    return any(
        isinstance(part, dict) and str(part.get("type")) in kinds
        for content in contents
        if isinstance(content, list)
        for part in content
    )

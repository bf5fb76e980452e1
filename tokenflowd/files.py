"""Files of the data directory: its user's own, and never what a link leads to.

Whoever can write into a directory can put a link there that leads to another file of its user's,
or a pipe that nobody answers. So the directory must be one that only its user can write, as
OpenSSH's StrictModes asks of ~/.ssh, and what is opened in it a regular file.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from tokenflowd.errors import UnsafePath

_MAX_LINKS = 40  # as the kernel follows
_WRITING = os.O_WRONLY | os.O_RDWR


def check_directory(directory: Path) -> None:
    """Raises UnsafePath if another user owns `directory` or can write into it, or could put
    another in its place. What does not exist yet is not missed."""
    try:
        for step in _steps(directory):
            _check_step(step, step.lstat())
        about = directory.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UnsafePath(f"{directory} cannot be looked at: {error.strerror}") from error
    if about.st_uid not in _trusted_owners():
        raise UnsafePath(_belongs_to_another(directory, "directory"))
    if _others_can_write(about):
        # In a sticky one, such as /tmp, others can still make the files that we have not made yet.
        if about.st_mode & stat.S_ISVTX:
            raise UnsafePath(
                f"other users can put files into {directory}; name a folder of your own in it as "
                "the --data-dir"
            )
        raise UnsafePath(_writable(directory))


def make_directory(directory: Path) -> None:
    """Makes `directory`, and those above it, unless they are there. Raises UnsafePath, OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_directory(directory)


def make_folder(folder: Path) -> None:
    """The same for a folder in the data directory, which is no link. Raises UnsafePath, OSError."""
    if folder.is_symlink():
        raise UnsafePath(_is_link(folder, "folder"))
    make_directory(folder)


def open_file(path: Path, flags: int) -> int:
    """A descriptor of the regular file at `path`, whose mode is 0600 if `flags` make it.

    Never waits, as for who opens the other end of a pipe. Raises UnsafePath, OSError. Don't pass
    O_TRUNC, which would come before the file is looked at.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError:
        check_file(path, for_writing=bool(flags & _WRITING))
        raise
    try:
        _check_file(path, os.fstat(descriptor), for_writing=bool(flags & _WRITING))
    except UnsafePath:
        os.close(descriptor)
        raise
    return descriptor


def check_file(path: Path, *, for_writing: bool) -> None:
    """For those who open by path, such as SQLite. Raises UnsafePath unless a regular file of our
    own is at `path`, or nothing."""
    try:
        about = path.lstat()
    except OSError:
        return
    _check_file(path, about, for_writing=for_writing)


def read_file(path: Path) -> str:
    """The text of a regular file. Raises UnsafePath, OSError, UnicodeDecodeError."""
    with os.fdopen(open_file(path, os.O_RDONLY), encoding="utf-8") as file:
        return file.read()


def replace_file(path: Path, text: str) -> None:
    """Puts a new file in the place of what is at `path`, at once or not at all. Raises OSError."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(text.encode())
    new.replace(path)


def _steps(path: Path) -> Iterator[Path]:
    """All that leads to `path`, from the root on and without itself: directories and links."""
    here, ahead = Path(path.anchor), list(reversed(path.parts[1:]))
    links = 0
    while ahead:
        yield here
        step = here / ahead.pop()
        if step.name == "..":
            here = here.parent
        elif step.is_symlink():
            yield step
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = step.readlink()
            ahead.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
            here = Path(target.anchor) if target.is_absolute() else here
        else:
            here = step


def _check_step(step: Path, about: os.stat_result) -> None:
    # In a user namespace, as systemd makes one for a hardened user unit, root may not be mapped:
    # its files seem to be nobody's. Whoever owns "/" can do anything anyway.
    if about.st_uid not in _trusted_owners() | {Path("/").stat().st_uid}:
        what = "link" if stat.S_ISLNK(about.st_mode) else "directory"
        raise UnsafePath(_belongs_to_another(step, what))
    is_open = not stat.S_ISLNK(about.st_mode) and _others_can_write(about)
    if is_open and not about.st_mode & stat.S_ISVTX:
        raise UnsafePath(_writable(step))


def _check_file(path: Path, about: os.stat_result, *, for_writing: bool) -> None:
    if stat.S_ISLNK(about.st_mode):
        raise UnsafePath(_is_link(path, "file"))
    if not stat.S_ISREG(about.st_mode):
        raise UnsafePath(f"{path} is no regular file; move it away")
    if about.st_uid not in _trusted_owners():
        raise UnsafePath(_belongs_to_another(path, "file"))
    if for_writing and about.st_nlink > 1:
        raise UnsafePath(
            f"{path} is a file that has another name elsewhere (a hard link) and would be changed "
            "there, too; put a copy in its place, or move it away"
        )


def _trusted_owners() -> set[int]:
    return {os.geteuid(), 0}


def _others_can_write(about: os.stat_result) -> bool:
    if about.st_mode & stat.S_IWOTH:
        return True
    return bool(about.st_mode & stat.S_IWGRP) and not _is_our_own_group(about.st_gid)


def _is_our_own_group(group: int) -> bool:
    """Whether nobody else is in it: systems that give each user a group of the same name let it
    write by default (umask 002)."""
    if group == 0:
        return True
    try:
        user, known = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    is_private = group == user.pw_gid and known.gr_name == user.pw_name
    return is_private and set(known.gr_mem) <= {user.pw_name}


def _is_link(path: Path, what: str) -> str:
    return f"{path} is a link, which is not followed; put the {what} itself there, or remove it"


def _belongs_to_another(path: Path, what: str) -> str:
    return (
        f"{path} belongs to another user; make the {what} yours (`chown`), or name another "
        "--data-dir"
    )


def _writable(directory: Path) -> str:
    return (
        f"{directory} can be written by other users: `chmod go-w {directory}`, or name another "
        "--data-dir"
    )

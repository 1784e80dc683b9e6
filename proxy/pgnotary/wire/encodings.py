"""The encodings that a client may speak: PostgreSQL's names for them, and what becomes of each here.

A value of client_encoding as somebody has written it enters; an `Encoding` under its one name leaves, or the error that
PostgreSQL answers with. The database is in UTF-8 and so is every session with it: of what a client says and hears in
another encoding, only the client knows. An encoding that pgnotary cannot convert exactly is refused, never guessed at.

Sources: PostgreSQL 18, "Character Set Support"; pg_encname_tbl and clean_encoding_name() in src/common/encnames.c;
check_client_encoding() in src/backend/commands/variable.c.
"""

import re
from dataclasses import dataclass

from pgnotary.errors import NotSupported, StatementError

__all__ = ["CLIENT_ENCODING", "UTF8", "Encoding", "encoding_of", "is_carried"]

CLIENT_ENCODING = "client_encoding"

# NAMEDATALEN: a longer one is not looked up.
_TOO_LONG = 64
_NEITHER_LETTER_NOR_DIGIT = re.compile(r"[^a-z0-9]")
# Which PostgreSQL gives back as it was written, for old drivers, though its name is UTF8.
_AS_WRITTEN = "UNICODE"

_NAMES = {
    name.lower().replace("_", ""): name
    for name in (
        "SQL_ASCII EUC_JP EUC_CN EUC_KR EUC_TW EUC_JIS_2004 UTF8 MULE_INTERNAL LATIN1 LATIN2 LATIN3 LATIN4 LATIN5 "
        "LATIN6 LATIN7 LATIN8 LATIN9 LATIN10 WIN1256 WIN1258 WIN866 WIN874 KOI8R WIN1251 WIN1252 ISO_8859_5 ISO_8859_6 "
        "ISO_8859_7 ISO_8859_8 WIN1250 WIN1253 WIN1254 WIN1255 WIN1257 KOI8U SJIS BIG5 GBK UHC GB18030 JOHAB "
        "SHIFT_JIS_2004"
    ).split()
}
_ALIASES = {
    "abc": "WIN1258",
    "alt": "WIN866",
    "eucjis2004": "EUC_JIS_2004",
    "iso88591": "LATIN1",
    "iso88592": "LATIN2",
    "iso88593": "LATIN3",
    "iso88594": "LATIN4",
    "iso88599": "LATIN5",
    "iso885910": "LATIN6",
    "iso885913": "LATIN7",
    "iso885914": "LATIN8",
    "iso885915": "LATIN9",
    "iso885916": "LATIN10",
    "koi8": "KOI8R",
    "mskanji": "SJIS",
    "shiftjis": "SJIS",
    "tcvn": "WIN1258",
    "tcvn5712": "WIN1258",
    "unicode": "UTF8",
    "vscii": "WIN1258",
    "win": "WIN1251",
    "win932": "SJIS",
    "win936": "GBK",
    "win949": "UHC",
    "win950": "BIG5",
    **{f"windows{page}": f"WIN{page}" for page in (866, 874, *range(1250, 1259))},
    "windows932": "SJIS",
    "windows936": "GBK",
    "windows949": "UHC",
    "windows950": "BIG5",
}
_NO_CONVERSION = "MULE_INTERNAL"
_CARRIED = frozenset({"UTF8", "SQL_ASCII"})
"""What needs no conversion: of SQL_ASCII a server in UTF-8 takes and sends the bytes as they are."""


class _NotCarried(NotSupported):
    """One that PostgreSQL would convert."""


class InvalidEncoding(StatementError):
    """No encoding of PostgreSQL's."""

    sqlstate = "22023"


@dataclass(frozen=True, slots=True)
class Encoding:
    """One value of client_encoding."""

    name: str
    """PostgreSQL's own name."""
    shown: str
    """What SHOW and ParameterStatus say: the name, but for UNICODE."""


UTF8 = Encoding("UTF8", "UTF8")


def encoding_of(value: str) -> Encoding:
    """Return the encoding that a value names; raises what PostgreSQL answers, or NotSupported for what is not carried.

    White space, case and punctuation do not count.
    """
    word = _NEITHER_LETTER_NOR_DIGIT.sub("", _ascii_lower(value))
    name = _NAMES.get(word) or _ALIASES.get(word)
    invalid = f'invalid value for parameter "{CLIENT_ENCODING}": "{value}"'
    if name is None or len(value.encode()) >= _TOO_LONG:
        raise InvalidEncoding(invalid)
    if name == _NO_CONVERSION:
        raise NotSupported(invalid, detail=f"Conversion between {name} and UTF8 is not supported.")
    if name not in _CARRIED:
        raise _NotCarried(
            f'{CLIENT_ENCODING} "{name}" is not carried by pgnotary',
            detail="What is said in it cannot be converted exactly here, so nothing is.",
            hint=f"Use one of {', '.join(sorted(_CARRIED))}.",
        )
    return Encoding(name, _AS_WRITTEN if value == _AS_WRITTEN else name)


def is_carried(value: str) -> bool:
    """Say whether a value may be set here, if it can be set at all."""
    try:
        encoding_of(value)
    except _NotCarried:
        return False
    except StatementError:
        pass
    return True


def _ascii_lower(value: str) -> str:
    return "".join(c.lower() if c.isascii() else " " for c in value)

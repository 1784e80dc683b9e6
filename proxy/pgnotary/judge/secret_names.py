"""Names that stand for secrets: of columns, settings, options, keys in JSON, functions.

A name enters in whatever style it is written, yes or no leaves. What is said *about* a secret (`password_changed_at`,
`token_count`) is no secret; a hash or another form of one is.
"""

import re
from functools import lru_cache

__all__ = ["is_secret_name"]

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+")

# Wherever they stand in a name, also grown together with other words: dbpassword, mysecretkey.
_STEMS = (
    "password passwd passphrase passwort kennwort motdepasse contrasena contraseña secret apikey credential privatekey "
    "accesskey secretkey authkey signingkey encryptionkey sessionkey hmackey masterkey accountkey servicekey sharedkey "
    "connectionstring sslkey passfile passcode pincode userpass totpseed"
).split()  # fmt: skip
# At the end of a name, as a word of their own.
_WORDS = frozenset("pass pwd pw pin dsn otp totp cvv cvc jwt bearer authorization token tokens".split())
# Forms that a secret is kept in: the name before them decides.
_FORMS = frozenset(
    "hash hashed value digest plain plaintext text raw new old enc encrypted confirm confirmation again bcrypt sha md "
    "b base hex salt string v".split()
)
# What is told about a secret.
_ABOUT = frozenset(
    """
    age algorithm at attempt attempts attr budget changed class count created date day days description enabled
    encoding encryption error expiration expires expiry failed failures field fields format group hint id ids idx index
    kind label length level lifetime limit limits location max message method min name names number owner per policy
    position prefix question rate regex required requirement reset role rotation rule rules schema scope size
    state status strength table time timestamp ttl type types until updated url usage used user users valid validity
    masked version
    """.split()
)


@lru_cache(4_096)
def is_secret_name(name: str) -> bool:
    """Whether what has this name is a secret itself; of a dotted name, its last part decides."""
    words = [word.lower() for word in _WORD.findall(name.rpartition(".")[2])]
    whole = "".join(words)
    while len(words) > 1 and words[-1] in _FORMS:
        words.pop()
    if not words or (len(words) > 1 and words[-1] in _ABOUT):
        return False
    if words[-1] in _WORDS or words[-1].endswith("token"):
        return True
    return any(stem in whole.replace("secretar", "") for stem in _STEMS)

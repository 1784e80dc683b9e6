"""What functions do with secrets: names, of which arguments are some, and of what makes others of what stands beside.

Names only, folded to lower case; who reads a statement looks them up.
"""

import re
from collections.abc import Mapping

__all__ = ["CHOOSE", "GIVE_ROWS", "NO_SECRETS", "SECRET_ARGUMENTS", "SECRET_FUNCTION", "TAKE_NAMES"]

# Functions, and which of their arguments are secrets; counted from 0.
SECRET_ARGUMENTS: Mapping[str, tuple[int, ...]] = {
    "crypt": (0, 1),
    "hmac": (1,),
    "encrypt": (0, 1),
    "encrypt_iv": (0, 1),
    "decrypt": (1,),
    "decrypt_iv": (1,),
    "pgp_sym_encrypt": (0, 1),
    "pgp_sym_encrypt_bytea": (0, 1),
    "pgp_sym_decrypt": (1,),
    "pgp_sym_decrypt_bytea": (1,),
    "pgp_pub_encrypt": (0,),
    "pgp_pub_encrypt_bytea": (0,),
    "pgp_pub_decrypt": (1, 2),
    "pgp_pub_decrypt_bytea": (1, 2),
    "create_aws_credentials": (0, 1, 2),
    "sign": (1,),
    "verify": (0, 1),
}
# They take names and values by turns.
TAKE_NAMES = frozenset(
    "set_config json_build_object jsonb_build_object json_object jsonb_object hstore jsonb_set jsonb_set_lax "
    "jsonb_insert".split()
)
NO_SECRETS = frozenset({"gen_salt"})
SECRET_FUNCTION = re.compile(r"passw|secret|passphrase|credential|token$|authenticat|(?:^|_)(?:login|sign_?in)$")
# What they are given beside a secret is another one.
CHOOSE = frozenset("coalesce nullif concat greatest least starts_with strpos texteq regexp_like".split())
# Rows come from what they are given, and so may a secret.
GIVE_ROWS = re.compile(
    r"unnest|jsonb?_(?:to_record(?:set)?|populate_record(?:set)?|array_elements(?:_text)?|each(?:_text)?)"
)

"""Errors of the server in words that are nobody's but ours: an SQLSTATE enters, what a preview may say of it leaves.

The server's own words are never shown: they quote values that nobody is to see (`invalid input syntax for type
integer: "..."`), and a function of anybody's own may make up any words, and any SQLSTATE, of what it has read. So one
is told only if it is listed here.

Source: PostgreSQL 18, appendix A, "PostgreSQL Error Codes".
"""

__all__ = ["in_words"]

_NAMES = {
    "0A000": "feature_not_supported",
    "21000": "cardinality_violation",
    "22003": "numeric_value_out_of_range",
    "22007": "invalid_datetime_format",
    "22008": "datetime_field_overflow",
    "22012": "division_by_zero",
    "22023": "invalid_parameter_value",
    "22P02": "invalid_text_representation",
    "25006": "read_only_sql_transaction",
    "40001": "serialization_failure",
    "40P01": "deadlock_detected",
    "42501": "insufficient_privilege",
    "42601": "syntax_error",
    "42602": "invalid_name",
    "42703": "undefined_column",
    "42704": "undefined_object",
    "42725": "ambiguous_function",
    "42804": "datatype_mismatch",
    "42846": "cannot_coerce",
    "42883": "undefined_function",
    "42P01": "undefined_table",
    "42P18": "indeterminate_datatype",
    "53100": "disk_full",
    "53200": "out_of_memory",
    "54000": "program_limit_exceeded",
    "54001": "statement_too_complex",
    "55P03": "lock_not_available",
    "57014": "query_canceled",
    "P0001": "raise_exception",
}


def in_words(sqlstate: str) -> str:
    """Return `SQLSTATE 57014 (query_canceled)`, or that it is another one."""
    name = _NAMES.get(sqlstate)
    return f"SQLSTATE {sqlstate} ({name})" if name else "an SQLSTATE that is not shown: it could quote data"

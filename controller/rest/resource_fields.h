/* Rows that many field tables share. */
#pragma once
#include "resource.h"

#define ID_PATTERN  "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"

#define FIELD_ID                                                              \
    { "id", T_TEXT, F_FIXED, 1, 100, .pattern = ID_PATTERN,                   \
      .help = "readable id; made by the server when missing" }

#define FIELD_NAME                                                            \
    FIELD_LABEL("name", F_REQUIRED, 1, 200, NULL, "what people call it")

/* What people call an object, or a part of it: one line, without characters that
 * are not seen and would make two names look alike. */
#define FIELD_LABEL(id, needs, least, most, unless, text)                     \
    { id, T_TEXT, needs, least, most, .check = field_check_label,             \
      .init = unless, .help = text }

/* Rules of names. */
#define FIELD_PATTERNS(id, text)                                              \
    { id, T_TEXTS, 0, 0, 50, 500, .check = field_check_pattern, .init = "[]", \
      .help = "patterns (PCRE2) of whole names in lower case, " text }

/* A reference to another object's id. */
#define FIELD_REF(id, refers, text)                                           \
    { id, T_TEXT, refers, 1, 100, .help = text }

/* What the server keeps. */
#define FIELD_READ(id, kind, text)                                            \
    { id, kind, F_READ | F_NULL, .help = text }

/* The same, and which words it may be. */
#define FIELD_STATE(id, words, text)                                          \
    { id, T_TEXT, F_READ | F_NULL, .allowed = words, .help = text }

#define FIELD_CREATED_AT  FIELD_READ("created_at", T_TIME, "when it was made")
#define FIELD_UPDATED_AT  FIELD_READ("updated_at", T_TIME, "when it last changed")

#define SORT_NAMES                                                            \
    { "name", "name" }, { "createdAt", "created_at" },                        \
    { "created_at", "created_at" }, { "updatedAt", "updated_at" },            \
    { "updated_at", "updated_at" }

/* Rows that many field tables share. */
#pragma once
#include "resource.h"

#define ID_PATTERN  "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"

#define FIELD_ID                                                              \
    { "id", T_TEXT, F_FIXED, 1, 100, .pattern = ID_PATTERN,                   \
      .help = "readable id; made by the server when missing" }

#define FIELD_NAME                                                            \
    { "name", T_TEXT, F_REQUIRED, 1, 200, .pattern = "[^\\x00-\\x1f\\x7f]+",  \
      .help = "what people call it" }

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

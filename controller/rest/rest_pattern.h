/* The patterns of the field tables, compiled once and shared by all threads. */
#pragma once
#include "rest.h"

/* Compiles every pattern that a route's resource names. */
struct patterns *patterns_new(const struct route *routes, struct error *err);
void patterns_free(struct patterns *patterns);

/* Whether the whole text matches; pattern is the pointer of a field table. */
bool pattern_matches(const struct patterns *patterns, const char *pattern,
    const char *text, size_t len);

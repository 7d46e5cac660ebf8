/* What a local CA's configuration holds, for the files of this connector. */
#pragma once
#include "issuer.h"

#define LOCAL_ROOT_NAME      "certctl local CA"
#define LOCAL_OCSP_LIFE_MAX  (10 * 86400)

extern const struct field  local_fields[];

/* A field's text, "" when it is not there.  Borrowed. */
const char *local_text(const json_t *config, const char *name);

/* A number, or its default when it is not there. */
int local_number(const json_t *config, const char *name);

/* Seconds that a certificate lives when the order does not say. */
time_t local_validity(const json_t *config);

/* What the fields must be together; each by itself is field_check()'s. */
bool local_check(const json_t *config, struct error *err);

/* Checks config; makes a root and an OCSP responder where they are missing. */
bool local_prepare(json_t *config, struct error *err);

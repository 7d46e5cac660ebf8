/* Field tables as JSON Schema (2020-12), as OpenAPI 3.1 wants it. */
#pragma once
#include "resource.h"

enum schema_kind { SCHEMA_ANSWER, SCHEMA_CREATE, SCHEMA_UPDATE };

/* An object's schema; to be json_decref'ed. */
json_t *schema_object(const struct field *fields, enum schema_kind kind);

/* Whether any field may be sent. */
bool schema_takes_body(const struct field *fields);

/* {"$ref": "#/components/schemas/<name><suffix>"} */
json_t *schema_ref(const char *name, const char *suffix);

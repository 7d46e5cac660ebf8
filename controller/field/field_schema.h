/* Field tables as JSON Schema (2020-12), as OpenAPI 3.1 wants it. */
#pragma once
#include "field.h"

enum schema_kind { SCHEMA_ANSWER, SCHEMA_CREATE, SCHEMA_REPLACE, SCHEMA_MERGE, SCHEMA__MAX };

/* "", "Create", "Replace", "Merge": what its name in the components ends with. */
extern const char *const  schema_suffixes[SCHEMA__MAX];

/*
 * An object's schema; to be json_decref'ed.  The configurations of kinds are
 * references to schemas that schema_kinds() adds.
 */
json_t *schema_object(const struct field *fields, enum schema_kind kind);

/* Adds the configurations that fields refer to. */
void schema_kinds(const struct field *fields, enum schema_kind kind, json_t *schemas);

/* Whether any field may be sent. */
bool schema_takes_body(const struct field *fields);

/* {"$ref": "#/components/schemas/<name><suffix>"} */
json_t *schema_ref(const char *name, const char *suffix);

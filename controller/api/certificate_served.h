/* Where hosts still serve a certificate that has ended here, in answers. */
#pragma once
#include "resource.h"

extern const struct field  certificate_served_fields[];

#define FIELD_SERVED                                                          \
    { "still_served", T_ROWS, F_READ, .of = certificate_served_fields,        \
      .help = "where the last reports of hosts have it, at most 100 places" }

/* The JSON that a statement answers for {id} (json_decref). */
json_t *certificate_json(struct request *r, const struct sql_statement *sql);

/* Answers with still_served added to answer; 204 when there is none and the route
 * has that. */
bool certificate_reply(struct request *r, json_t *answer);

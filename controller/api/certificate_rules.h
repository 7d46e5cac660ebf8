/* Who may choose a certificate's names, and which rules they have to keep. */
#pragma once
#include "rest.h"

/* Before body changes current: FORBIDDEN without the permission to issue for them. */
bool certificate_names_may_change(struct request *r, const char *id,
    const json_t *current);

/* Afterwards, or after creation (current is NULL): INVALID with the field that breaks
 * a rule of its profile or organization. */
bool certificate_keeps_rules(struct request *r, const char *id, const json_t *current);

/* Observed -> managed: an observed certificate becomes one we keep alive. */
#pragma once
#include "core.h"

/*
 * Links a discovered certificate to managed_id, or, when that is NULL, makes a
 * managed certificate of its names (issuer and policy by domain.md rule 1), a
 * target on its agent, and their mapping.  *managed_id_out is to be freed.
 */
bool adoption_claim(const struct core *c, const char *discovered_id,
    const char *managed_id, char **managed_id_out, struct error *err);

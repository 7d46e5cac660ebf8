/* What the files about the fleet CA share. */
#pragma once
#include "fleet.h"

/* A CA with its key, under this id; overlap_days may be NULL.  *made: there was
 * none of the id. */
bool fleet_make(const struct core *c, const char *id, const char *name,
    const char *state, const char *overlap_days, bool *made,
    struct error *err);

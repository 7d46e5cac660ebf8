/* What the files about the fleet CA share. */
#pragma once
#include "fleet.h"

/* A CA with its key, under this id; overlap_days may be NULL. */
bool fleet_make(const struct core *c, const char *id, const char *name,
    const char *state, const char *overlap_days, struct error *err);

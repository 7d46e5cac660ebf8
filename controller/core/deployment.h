/* Putting an issued version on its targets. */
#pragma once
#include "core.h"

/* Deployment jobs for the newest version of each mapped target, or of one. */
bool deployment_request(const struct core *c, const char *certificate_id,
    const char *target_id, struct error *err);

/* Revocation: RFC 5280 5.3.1 reasons, the seven steps of domain.md rule 9. */
#pragma once
#include "core.h"

/* The number of a reason's name as text; NULL with INVALID. */
const char *revocation_reason(const char *name, struct error *err);

/* Revokes every version that could still be used; succeeds for a certificate
 * that was never issued.  What is open ends; what its CA still issues is revoked
 * when it arrives.  INVALID: unknown reason; CONFLICT: already revoked, archived. */
bool revocation_request(const struct core *c, const char *certificate_id,
    const char *reason, struct error *err);

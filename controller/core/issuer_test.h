/* Whether an issuer works, tried without ordering anything. */
#pragma once
#include "core.h"
#include "http.h"

/*
 * Tries it, whether it is enabled or not, and stores when and with which result.
 * *ret (json_decref) has status "success" or "failed", message, tested_at and steps.
 * False for what keeps it from being tried: NOT_FOUND, UNSUPPORTED.
 */
bool issuer_test(const struct core *c, struct http_client *http,
    const char *issuer_id, json_t **ret, struct error *err);

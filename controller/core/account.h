/* What an issuer's connector keeps for all its orders: sealed, and changed by one
 * order at a time. */
#pragma once
#include "core.h"

/* NULL in *account when there is none yet; json_decref() it. */
bool account_load(const struct core *c, const char *issuer_id, json_t **account,
    struct error *err);

/* Lets only this order change the account; *held is false while another order
 * does.  Ends by itself after a while, should the order never go on. */
bool account_lock(const struct core *c, const char *issuer_id, const char *order_id,
    bool *held, json_t **account, struct error *err);

/* CONFLICT when the order does not hold the account. */
bool account_store(const struct core *c, const char *issuer_id, const char *order_id,
    const json_t *account, struct error *err);

/* Harmless when the order does not hold it. */
bool account_release(const struct core *c, const char *issuer_id,
    const char *order_id, struct error *err);

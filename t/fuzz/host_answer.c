/*
 * What a host answers to the controller's requests: the first byte chooses the
 * status, the rest is the body, whatever was asked for.
 */
#include "fuzz.h"
#include "http.h"

#define http_send  shim_send

static const uint8_t  *input;
static size_t          input_len;

static bool
shim_send(struct http_client *client, const struct http_request *request,
    struct http_response *ret, struct error *err)
{
    static const int  statuses[] = { 200, 201, 304, 404, 409, 422, 503, 599 };

    (void) client;
    (void) request;
    (void) err;

    *ret = (struct http_response) {
        .status = statuses[input[0] % 8], .body_len = input_len - 1,
        .body = fuzz_text(input + 1, input_len - 1),
    };

    return true;
}

#include "../../controller/target/target_nginx_module.c"

static const struct target_link  link_of = {
    .agent_id = "a", .url = "https://fuzz.example:9443"
};

/* Whoever says no says why. */
static bool
reason(bool ok, const struct error *err)
{
    FUZZ_MUST(ok || (err->code != ERR_NONE && *err->detail));

    return ok;
}

static void
report(void)
{
    struct error        err = { 0 };
    struct target_ask   ask = { .full = true, .after = "s1" };
    struct target_page  page;

    if (reason(target_nginx_module.report(&link_of, &ask, &page, &err), &err)) {
        FUZZ_MUST(page.unchanged
                  || json_is_array(json_object_get(page.report,
                                                   "certificates")));
    }

    target_page_cleanup(&page);
}

/* Two go in one request, one alone. */
static void
install(int n)
{
    struct target_item  items[] = {
        { .record = "a", .chain_pem = "a\n" },
        { .record = "b", .chain_pem = "b\n", .staple = input, .staple_len = 1 },
    };

    target_nginx_module.install(&link_of, items, n);

    for (int i = 0; i < n; i++) {
        reason(items[i].installed, &items[i].err);
        FUZZ_MUST(!items[i].installed || strlen(items[i].fingerprint) == 64);
    }
}

static void
others(void)
{
    struct error   err = { 0 };
    json_t        *status = NULL;
    char          *text = NULL;

    (void) reason(target_nginx_module.csr(&link_of, "a", "ec-p256", "DNS:a",
                                          true, &text, &err), &err);
    free(text);
    text = NULL;
    (void) reason(target_nginx_module.status(&link_of, &status, &text, &err),
                  &err);
    json_decref(status);
    free(text);
    (void) reason(target_nginx_module.staple(&link_of, "00", "", 0, &err), &err);
    (void) reason(target_nginx_module.rollback(&link_of, "a", &err), &err);
    (void) reason(target_nginx_module.remove(&link_of, "a", &err), &err);
    (void) reason(target_nginx_module.challenge_put(&link_of, "http-01", "a", "a.b", 60,
                                                    &err), &err);
    (void) reason(target_nginx_module.challenge_delete(&link_of, "http-01", "a", &err),
                  &err);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }

    input = data;
    input_len = len;
    report();
    install(1);
    install(2);
    others();
    ERR_clear_error();

    return 0;
}

/*
 * A host's report of what it serves: rows for the inventory, or a refusal.  And
 * the same bytes as its ETag.
 */
#include "fuzz.h"
#include "../../controller/core/inventory.c"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct error   err = { 0 };
    json_t        *report, *rows;
    char          *text;

    text = fuzz_text(data, len);
    FUZZ_MUST(!same_configuration(text, "") && !same_configuration("", text));
    FUZZ_MUST(same_configuration(text, text)
              == (strrchr(text, '-') != NULL && strrchr(text, '-') != text));
    free(text);

    report = json_loadb((const char *) data, len, JSON_REJECT_DUPLICATES, NULL);

    if (json_is_object(report)) {
        rows = json_array();

        if (inventory_rows(report, rows, &err)) {
            text = json_dumps(rows, JSON_COMPACT);
            FUZZ_MUST(text != NULL);
            free(text);

        } else {
            FUZZ_MUST(err.code == ERR_PEER && *err.detail);
        }

        json_decref(rows);
    }

    json_decref(report);
    ERR_clear_error();

    return 0;
}

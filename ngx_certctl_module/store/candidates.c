
/*
 * The candidates of a name: the records whose certificate carries it, in the
 * order in which they are tried, as the text of a symbolic link.
 *
 *     shop/shop-old/
 *
 * A '/' follows each record.  Without it behind the last one the list is
 * partial: more records may carry the name than it has room for, or it was
 * written by a version of certctl that kept one record for each name.
 */


#include "store/store_impl.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "x509_facts.h"


void
certctl_candidate_set(certctl_candidate_t *candidate,
    const certctl_record_t *record)
{
    struct certctl_x509_facts  facts = { 0 };

    (void) certctl_x509_facts_read(record->chain.data, record->chain.len,
                                   &facts);

    memcpy(candidate->record, record->name, sizeof(candidate->record));
    candidate->not_before = facts.not_before;
    candidate->not_after = facts.not_after;
}


size_t
certctl_candidates_index(const certctl_candidates_t *list, const char *record)
{
    size_t  i;

    for (i = 0; i < list->n && strcmp(list->of[i].record, record) != 0; i++) {
        /* void */
    }

    return i;
}


void
certctl_candidates_remove(certctl_candidates_t *list, size_t i)
{
    if (i < list->n) {
        list->n--;
        memmove(&list->of[i], &list->of[i + 1],
                (list->n - i) * sizeof(list->of[0]));
    }
}


/* The newer certificate is tried first; of one age the lower name. */

static int
precedes(const certctl_candidate_t *a, const certctl_candidate_t *b)
{
    return a->not_before != b->not_before
           ? a->not_before > b->not_before
           : strcmp(a->record, b->record) < 0;
}


static int
is_too_long(const certctl_candidates_t *list)
{
    size_t  i, len = 0;

    for (i = 0; i < list->n; i++) {
        len += strlen(list->of[i].record) + 1;
    }

    return list->n > CERTCTL_CANDIDATES || len > CERTCTL_CANDIDATES_TEXT;
}


/*
 * What does not fit is left out, the last ones first, but never the one that
 * is valid longest: while any record with the name is valid, one in the list
 * is.
 */

static void
shorten(certctl_candidates_t *list)
{
    size_t  i, last;

    while (is_too_long(list)) {
        last = list->n - 1;

        for (i = 0; i < last; i++) {
            if (list->of[i].not_after >= list->of[last].not_after) {
                break;
            }
        }

        certctl_candidates_remove(list, i < last ? last : last - 1);
        list->partial = 1;
    }
}


void
certctl_candidates_add(certctl_candidates_t *list,
    const certctl_candidate_t *candidate)
{
    size_t  i;

    certctl_candidates_remove(list,
                          certctl_candidates_index(list, candidate->record));

    for (i = 0; i < list->n && precedes(&list->of[i], candidate); i++) {
        /* void */
    }

    memmove(&list->of[i + 1], &list->of[i],
            (list->n - i) * sizeof(list->of[0]));

    list->of[i] = *candidate;
    list->n++;

    shorten(list);
}


static void
parse(certctl_candidates_t *list)
{
    size_t       n;
    const char  *p = list->text, *end = p + list->len, *slash;

    list->partial = (list->len == 0 || end[-1] != '/');

    for ( /* void */ ; p < end; p += n + 1) {
        slash = memchr(p, '/', end - p);
        n = (slash ? slash : end) - p;

        if (list->n == CERTCTL_CANDIDATES || *p == '_'
            || !certctl_name_valid((const u_char *) p, n))
        {
            list->partial = 1;
            continue;
        }

        memcpy(list->of[list->n].record, p, n);
        list->of[list->n].record[n] = '\0';
        list->n++;
    }
}


int
certctl_candidates_read(int folder, const char *path,
    certctl_candidates_t *list)
{
    ssize_t  n;

    n = readlinkat(folder, path, list->text, sizeof(list->text));

    list->n = 0;
    list->len = n > 0 ? n : 0;
    parse(list);

    if (list->n) {
        return CERTCTL_STORE_OK;
    }

    list->partial = 0;

    return n >= 0 || errno == ENOENT || errno == ENOTDIR || errno == EINVAL
           ? CERTCTL_STORE_NOT_FOUND : CERTCTL_STORE_ERROR;
}


int
certctl_candidates_write(certctl_candidates_t *list)
{
    char    text[sizeof(list->text)];
    size_t  i, n, len = 0;

    for (i = 0; i < list->n; i++) {
        n = strlen(list->of[i].record);
        memcpy(text + len, list->of[i].record, n);
        text[len + n] = '/';
        len += n + 1;
    }

    if (len && list->partial) {
        len--;
    }

    if (len == list->len && memcmp(text, list->text, len) == 0) {
        return 0;
    }

    memcpy(list->text, text, len);
    list->text[len] = '\0';
    list->len = len;

    return 1;
}

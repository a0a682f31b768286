/* NVML's event sets: a set gets what was written to the state file after it was made. */
#include "state.h"

#include <stdio.h>
#include <stdlib.h>

struct event_set { bool registered[MAX_GPUS]; unsigned long long types, seen; };

/* The search for the oldest event that a set has not seen. */
struct search {
    const struct event_set *set;
    long long number;
    nvmlEventData_t found;
};

static void visit_last(int who, const char *value, void *last)
{
    (void)who;
    unsigned long long number = strtoull(value, NULL, 0);
    if (number > *(unsigned long long *)last)
        *(unsigned long long *)last = number;
}

static void visit_next(int who, const char *value, void *context)
{
    struct search *search = context;
    long long number, type, data;
    if (who < 0 || who >= MAX_GPUS || sscanf(value, "%lli %lli %lli", &number, &type, &data) != 3)
        return;
    if (number <= (long long)search->set->seen || !search->set->registered[who] ||
        !(type & search->set->types) || (search->number && number > search->number))
        return;
    search->number = number;
    search->found = (nvmlEventData_t){
        .device = &devices[who],
        .eventType = type,
        .eventData = data,
        .gpuInstanceId = 0xFFFFFFFF,
        .computeInstanceId = 0xFFFFFFFF,
    };
}

EXPORT nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set)
{
    ENTER(SYSTEM);
    *set = calloc(1, sizeof **set);
    each("event", visit_last, &(*set)->seen);
    return SUCCESS;
}

EXPORT nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set)
{
    free(set);
    return SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types)
{
    long long value;
    ENTER(device->index);
    *types = get(device->index, "events", &value) ? value : 0;
    return SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types,
                                             nvmlEventSet_t set)
{
    long long supported = 0;
    ENTER(device->index);
    get(device->index, "events", &supported);
    if (types & ~(unsigned long long)supported)
        return NOT_SUPPORTED;
    set->registered[device->index] = true;
    set->types |= types;
    return SUCCESS;
}

EXPORT nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *out, unsigned timeout_ms)
{
    for (unsigned waited = 0;; waited += 20) {
        ENTER(SYSTEM);
        struct search search = {.set = set};
        each("event", visit_next, &search);
        if (search.number) {
            set->seen = search.number;
            *out = search.found;
            return SUCCESS;
        }
        if (waited >= timeout_ms)
            return TIMEOUT;
        sleep_ms(20);
    }
}

/* The state file: what its lines say, and the faults that they ask for. Its format: fake_nvml.c. */
#pragma once
#include "abi.h"

enum { MAX_GPUS = 16, ALL = -1, SYSTEM = -2 };

extern bool initialised;
extern struct device devices[MAX_GPUS];

/* The value as text or number; false when there is none. */
bool get_text(int who, const char *key, char *out, unsigned size);
bool get(int who, const char *key, long long *out);

/* The same as an answer of NVML: NOT_SUPPORTED when there is none. */
nvmlReturn_t get_unsigned(int who, const char *key, unsigned *out);
nvmlReturn_t copy_text(int who, const char *key, char *out, unsigned size);

/* Calls back with every line of a key, in the file's order. */
void each(const char *key, void (*visit)(int who, const char *value, void *context), void *context);

void sleep_ms(long long ms);

/* Before every answer: delays and errors that the file asks for. */
nvmlReturn_t enter(const char *function, int who);

#define ENTER(who)                                       \
    do {                                                 \
        nvmlReturn_t entered = enter(__func__, who);     \
        if (entered != SUCCESS)                          \
            return entered;                              \
    } while (0)

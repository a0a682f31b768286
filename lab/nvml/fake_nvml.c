/* NVML's ABI without a GPU: every answer comes from a text file, which may change while it runs.
 *
 * The file (IRONLEASE_NVML_STATE) has lines `WHO KEY VALUE`. WHO is `system`, `all` (every GPU) or a
 * GPU's index; the last line that fits wins, and the GPU's own come before those for all. A value
 * that is not there is one that the GPU does not support. What keys there are is seen best in
 * profiles/ and in the functions below. Faults have keys of their own:
 *
 *   error.FUNCTION CODE       the function returns that nvmlReturn_t
 *   delay_ms.FUNCTION N       it answers after N ms (a hung driver: a day)
 *   lost 1                    the GPU fell off the bus: everything about it returns GPU_IS_LOST
 *   event N TYPE DATA         event number N, for event sets that were made before it was written
 *
 * With -DOLD_DRIVER the functions and fields that came after R510 are not there at all.
 */
#include "state.h"

#include <stdio.h>
#include <string.h>

/* What a test compares with the sizes that nvidia-ml-py has */
EXPORT const struct { const char *name; unsigned size; } fake_nvml_sizes[] = {
    {"nvmlPciInfo_t", sizeof(nvmlPciInfo_t)},
    {"c_nvmlMemory_t", sizeof(nvmlMemory_t)},
    {"c_nvmlUtilization_t", sizeof(nvmlUtilization_t)},
    {"c_nvmlRowRemapperHistogramValues", sizeof(nvmlRowRemapperHistogramValues_t)},
    {"c_nvmlTemperature_v1_t", sizeof(nvmlTemperature_v1_t)},
    {"c_nvmlMarginTemperature_v1_t", sizeof(nvmlMarginTemperature_v1_t)},
    {"c_nvmlFieldValue_t", sizeof(nvmlFieldValue_t)},
    {"c_nvmlEventData_t", sizeof(nvmlEventData_t)},
    {"c_nvmlGpuFabricInfo_v3_t", sizeof(nvmlGpuFabricInfo_v3_t)},
    {"c_nvmlEccSramErrorStatus_v1_t", sizeof(nvmlEccSramErrorStatus_v1_t)},
    {NULL, 0},
};

/* ---- The library and the system ---- */

EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    nvmlReturn_t entered = enter(__func__, SYSTEM);
    if (entered != SUCCESS && entered != UNINITIALIZED)
        return entered;
    initialised = true;
    return SUCCESS;
}

EXPORT nvmlReturn_t nvmlShutdown(void)
{
    ENTER(SYSTEM);
    initialised = false;
    return SUCCESS;
}

EXPORT const char *nvmlErrorString(nvmlReturn_t result)
{
    return result == GPU_IS_LOST ? "GPU is lost" : "Fake NVML error";
}

EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char *out, unsigned size)
{
    ENTER(SYSTEM);
    return copy_text(SYSTEM, "driver", out, size);
}

EXPORT nvmlReturn_t nvmlSystemGetNVMLVersion(char *out, unsigned size)
{
    ENTER(SYSTEM);
    return copy_text(SYSTEM, "nvml", out, size);
}

EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count)
{
    ENTER(SYSTEM);
    return get_unsigned(SYSTEM, "count", count);
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device)
{
    unsigned count = 0;
    if (index >= MAX_GPUS)
        return INVALID_ARGUMENT;
    ENTER(index);
    get_unsigned(SYSTEM, "count", &count);
    if (index >= count)
        return INVALID_ARGUMENT;
    devices[index].index = index;
    *device = &devices[index];
    return SUCCESS;
}

/* ---- One value of one GPU ---- */

#define TEXT(function, key)                                                        \
    EXPORT nvmlReturn_t function(nvmlDevice_t device, char *out, unsigned size)    \
    {                                                                              \
        ENTER(device->index);                                                      \
        return copy_text(device->index, key, out, size);                           \
    }
#define UNSIGNED(function, key)                                                    \
    EXPORT nvmlReturn_t function(nvmlDevice_t device, unsigned *out)               \
    {                                                                              \
        ENTER(device->index);                                                      \
        return get_unsigned(device->index, key, out);                              \
    }

TEXT(nvmlDeviceGetName, "name")
TEXT(nvmlDeviceGetUUID, "uuid")
TEXT(nvmlDeviceGetSerial, "serial")
TEXT(nvmlDeviceGetVbiosVersion, "vbios")
UNSIGNED(nvmlDeviceGetPowerUsage, "power.usage")
UNSIGNED(nvmlDeviceGetEnforcedPowerLimit, "power.enforced")
UNSIGNED(nvmlDeviceGetPowerManagementDefaultLimit, "power.default")
UNSIGNED(nvmlDeviceGetCurrPcieLinkGeneration, "pcie.generation")
UNSIGNED(nvmlDeviceGetMaxPcieLinkGeneration, "pcie.generation_max")
UNSIGNED(nvmlDeviceGetCurrPcieLinkWidth, "pcie.width")
UNSIGNED(nvmlDeviceGetMaxPcieLinkWidth, "pcie.width_max")
UNSIGNED(nvmlDeviceGetPcieReplayCounter, "pcie.replays")
UNSIGNED(nvmlDeviceGetRetiredPagesPendingStatus, "retired.pending")

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *out)
{
    ENTER(device->index);
    memset(out, 0, sizeof *out);
    nvmlReturn_t copied = copy_text(device->index, "pci", out->busId, sizeof out->busId);
    if (copied == SUCCESS)
        sscanf(out->busId, "%x:%x:%x", &out->domain, &out->bus, &out->device);
    return copied;
}

EXPORT nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned *out)
{
    ENTER(device->index);
    return sensor ? NOT_SUPPORTED : get_unsigned(device->index, "temperature", out);
}

EXPORT nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, int which, unsigned *out)
{
    char key[32];
    ENTER(device->index);
    snprintf(key, sizeof key, "threshold.%d", which);
    return get_unsigned(device->index, key, out);
}

EXPORT nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *out)
{
    ENTER(device->index);
    nvmlReturn_t got = get_unsigned(device->index, "utilization.gpu", &out->gpu);
    return got ? got : get_unsigned(device->index, "utilization.memory", &out->memory);
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *out)
{
    long long total, used = 0;
    ENTER(device->index);
    if (!get(device->index, "memory.total", &total))
        return NOT_SUPPORTED;
    get(device->index, "memory.used", &used);
    *out = (nvmlMemory_t){.total = total, .used = used, .free = total - used};
    return SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, int clock, unsigned *out)
{
    char key[16];
    ENTER(device->index);
    snprintf(key, sizeof key, "clock.%d", clock);
    return get_unsigned(device->index, key, out);
}

EXPORT nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *out)
{
    long long value;
    ENTER(device->index);
    if (!get(device->index, "energy", &value))
        return NOT_SUPPORTED;
    *out = value;
    return SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, int *current, int *pending)
{
    long long value;
    ENTER(device->index);
    if (!get(device->index, "ecc.mode", &value))
        return NOT_SUPPORTED;
    *current = *pending = value;
    return SUCCESS;
}

static const char *const KINDS[] = {"corrected", "uncorrected"};
static const char *const COUNTERS[] = {"volatile", "aggregate"};
static const char *const LOCATIONS[] = {"l1",      "l2",          "dram", "register",
                                        "texture", "texture_shm", "cbu",  "sram"};

static bool ecc(int who, const char *counter, const char *kind, const char *location, long long *out)
{
    char key[64];
    snprintf(key, sizeof key, "ecc.%s.%s.%s", counter, kind, location);
    return get(who, key, out);
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, unsigned kind,
                                                    unsigned counter, unsigned location,
                                                    unsigned long long *out)
{
    long long value;
    ENTER(device->index);
    if (kind > 1 || counter > 1 || location > 7)
        return INVALID_ARGUMENT;
    if (!ecc(device->index, COUNTERS[counter], KINDS[kind], LOCATIONS[location], &value))
        return NOT_SUPPORTED;
    *out = value;
    return SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t device, unsigned cause, unsigned *count,
                                              unsigned long long *addresses)
{
    unsigned pages;
    ENTER(device->index);
    if (get_unsigned(device->index, cause ? "retired.double_bit" : "retired.single_bit", &pages))
        return NOT_SUPPORTED;
    bool fits = *count >= pages;
    *count = pages;
    if (!fits)
        return INSUFFICIENT_SIZE;
    for (unsigned page = 0; page < pages && addresses; page++)
        addresses[page] = 0x10000ull * page;
    return SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned *corrected,
                                              unsigned *uncorrected, unsigned *pending,
                                              unsigned *failure)
{
    int gpu;
    ENTER(gpu = device->index);
    if (get_unsigned(gpu, "remap.corrected", corrected) ||
        get_unsigned(gpu, "remap.uncorrected", uncorrected) ||
        get_unsigned(gpu, "remap.pending", pending) || get_unsigned(gpu, "remap.failure", failure))
        return NOT_SUPPORTED;
    return SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t device,
                                                      nvmlRowRemapperHistogramValues_t *out)
{
    char value[64];
    ENTER(device->index);
    if (!get_text(device->index, "remap.histogram", value, sizeof value))
        return NOT_SUPPORTED;
    return sscanf(value, "%u %u %u %u %u", &out->max, &out->high, &out->partial, &out->low,
                  &out->none) == 5 ? SUCCESS : INVALID_ARGUMENT;
}

EXPORT nvmlReturn_t nvmlDeviceValidateInforom(nvmlDevice_t device)
{
    ENTER(device->index);
    return SUCCESS;
}

static nvmlReturn_t clocks_event_reasons(int who, unsigned long long *out)
{
    long long value;
    if (!get(who, "clocks.reasons", &value))
        return NOT_SUPPORTED;
    *out = value;
    return SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device,
                                                              unsigned long long *out)
{
    ENTER(device->index);
    return clocks_event_reasons(device->index, out);
}

EXPORT nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned link, unsigned *active)
{
    char key[32];
    unsigned links;
    ENTER(device->index);
    if (get_unsigned(device->index, "field.91", &links))
        return NOT_SUPPORTED;
    if (link >= links)
        return INVALID_ARGUMENT;
    snprintf(key, sizeof key, "nvlink.state.%u", link);
    *active = 1;
    get_unsigned(device->index, key, active);
    return SUCCESS;
}

/* A field's value: `field.ID.SCOPE`, else `field.ID`. */
static nvmlReturn_t field(int who, nvmlFieldValue_t *out)
{
    char key[40];
    long long value;
#ifdef OLD_DRIVER
    if (out->fieldId > 183)
        return INVALID_ARGUMENT;
#endif
    snprintf(key, sizeof key, "field.%u.%u", out->fieldId, out->scopeId);
    if (!get(who, key, &value)) {
        *strrchr(key, '.') = 0;
        if (!get(who, key, &value))
            return NOT_SUPPORTED;
    }
    memset(&out->value, 0, sizeof out->value);
    if (value < 0) {
        out->valueType = SIGNED_INT;
        out->value.si = value;
    } else if (value >> 32) {
        out->valueType = UNSIGNED_LONG_LONG;
        out->value.ull = value;
    } else {
        out->valueType = UNSIGNED_INT;
        out->value.ui = value;
    }
    return SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values)
{
    ENTER(device->index);
    for (int i = 0; i < count; i++)
        values[i].nvmlReturn = field(device->index, &values[i]);
    return SUCCESS;
}

/* ---- What an R510 driver has not ---- */

#ifndef OLD_DRIVER

EXPORT nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_v1_t *out)
{
    ENTER(device->index);
    if (out->version != (sizeof *out | 1u << 24))
        return ARGUMENT_VERSION_MISMATCH;
    return out->sensorType ? NOT_SUPPORTED
                           : get_unsigned(device->index, "temperature", (unsigned *)&out->temperature);
}

EXPORT nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t device,
                                                   nvmlMarginTemperature_v1_t *out)
{
    ENTER(device->index);
    if (out->version != (sizeof *out | 1u << 24))
        return ARGUMENT_VERSION_MISMATCH;
    return get_unsigned(device->index, "temperature.margin", (unsigned *)&out->marginTemperature);
}

EXPORT nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device,
                                                           unsigned long long *out)
{
    ENTER(device->index);
    return clocks_event_reasons(device->index, out);
}

EXPORT nvmlReturn_t nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t device,
                                                    nvmlEccSramErrorStatus_v1_t *out)
{
    int gpu;
    long long value;
    ENTER(gpu = device->index);
    if (out->version != (sizeof *out | 1u << 24))
        return ARGUMENT_VERSION_MISMATCH;
    if (!get(gpu, "sram.threshold_exceeded", &value))
        return NOT_SUPPORTED;
    *out = (nvmlEccSramErrorStatus_v1_t){.version = out->version, .bThresholdExceeded = value};
    if (ecc(gpu, "volatile", "uncorrected", "sram", &value))
        out->volatileUncSecDed = value;
    if (ecc(gpu, "aggregate", "uncorrected", "sram", &value))
        out->aggregateUncSecDed = out->aggregateUncBucketSm = value;
    if (ecc(gpu, "volatile", "corrected", "sram", &value))
        out->volatileCor = value;
    if (ecc(gpu, "aggregate", "corrected", "sram", &value))
        out->aggregateCor = value;
    return SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfo_v3_t *out)
{
    int gpu;
    long long value;
    ENTER(gpu = device->index);
    unsigned structure = out->version & 0xFFFFFF, version = out->version >> 24;
    if (!(version == 3 && structure == sizeof *out) && !(version == 2 && structure == 36))
        return ARGUMENT_VERSION_MISMATCH;
    if (!get(gpu, "fabric.state", &value))
        return NOT_SUPPORTED;
    out->state = value;
    out->status = get(gpu, "fabric.status", &value) ? value : 0;
    out->cliqueId = get(gpu, "fabric.clique", &value) ? value : 0;
    out->healthMask = get(gpu, "fabric.health_mask", &value) ? value : 0;
    if (version == 3)
        out->healthSummary = get(gpu, "fabric.health_summary", &value) ? value : 0;
    memset(out->clusterUuid, 0, sizeof out->clusterUuid);
    return SUCCESS;
}

#endif

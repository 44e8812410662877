/* What torch's autograd asks before a backward pass over CUDA tensors: how many devices there are, and whether this
   process uses them. The rest of CUDA's driver is left missing, so that whatever would touch a device fails. */

/* None while torch is loaded: it then takes a guard of devices that does nothing. */
signed char devices = 0;

signed char _ZN3c104cuda12device_countEv(void) /* c10::cuda::device_count() */
{
    return devices;
}

int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active)
{
    (void)device;
    *flags = 0;
    *active = 0;
    return 0;
}

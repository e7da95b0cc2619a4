package figure

// A Usage is what a process has used of the machine for some time.
type Usage struct {
	Seconds       float64 `json:"seconds"` // of the clock
	CPUSeconds    float64 `json:"cpu_seconds"`
	SystemSeconds float64 `json:"system_cpu_seconds"` // of CPUSeconds those in the kernel
	OthersCores   float64 `json:"others_cores"`       // cores that all else kept busy, the kernel's threads too

	// Of the process, as the kernel counts them: reads from the device, read-ahead
	// included; and what it has made dirty, be it on the device yet or not. Of the page
	// cache whole folios count, which ext4 makes as large as the first write to them:
	// up to MiBs for a few bytes.
	ReadBytes  int64 `json:"read_bytes"`
	WriteBytes int64 `json:"write_bytes"`

	// Of the device that the store is on, whoever it was for; 0 where it has none.
	DeviceReadBytes  int64 `json:"device_read_bytes"`
	DeviceWriteBytes int64 `json:"device_write_bytes"`
}

// AddCPU has the CPU time of another process, which was counted as that of others,
// count as this one's.
func (u *Usage) AddCPU(seconds float64) {
	u.CPUSeconds += seconds
	if u.Seconds > 0 {
		u.OthersCores = max(0, u.OthersCores-seconds/u.Seconds)
	}
}

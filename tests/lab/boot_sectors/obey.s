# Sends "up" to the serial port, then obeys one key: "r" resets the machine, any other powers it off.
# OBEY in test_rack_machines.py holds it assembled:
#   as --32 -o /tmp/x.o obey.s && objcopy -O binary -j .text /tmp/x.o /dev/stdout | xxd -p
.code16
  cli                  # or the firmware, whose console this line is, may take the key first
  mov $0x3f8,%dx
  mov $'u',%al
  out %al,%dx
  mov $'p',%al
  out %al,%dx
  mov $0x3fd,%dx
key:
  in %dx,%al
  test $1,%al
  jz key
  mov $0x3f8,%dx
  in %dx,%al
  cmp $'r',%al
  je reset
  mov $0x604,%dx       # ACPI PM1a control of QEMU's q35 as its firmware sets it up
  mov $0x2000,%ax      # SLP_EN, type S5
  out %ax,%dx
  jmp stop
reset:
  mov $0xfe,%al        # keyboard controller: pulse the reset line
  out %al,$0x64
stop:
  hlt
  jmp stop

# Asks the BMC for its device id over KCS (IPMI 2.0, section 9) and sends the answer in hexadecimal
# to the serial port. ASK_BMC in test_rack_hardware.py holds it assembled:
#   as --32 -o /tmp/x.o ask_bmc.s && objcopy -O binary -j .text /tmp/x.o /dev/stdout | xxd -p
.code16
_start:
  xor %ax,%ax
  mov %ax,%ds
  mov %ax,%ss
  mov $0x7c00,%sp
again:
  mov $0x61,%al        # WRITE_START
  call command
  mov $0x18,%al        # network function App, LUN 0
  call data
  mov $0x62,%al        # WRITE_END
  call command
  mov $0x01,%al        # Get Device ID
  call data
read:
  call settle
  and $0xc0,%al
  cmp $0x40,%al        # READ state
  jne finished
full:
  mov $0xca3,%dx
  in %dx,%al
  test $1,%al
  jz full
  dec %dx
  in %dx,%al
  call hex
  mov $0x68,%al        # READ: the next byte, please
  call data
  jmp read
finished:
  mov $'\n',%al
  call out
stop:
  hlt
  jmp stop
command:
  push %ax
  call settle
  pop %ax
  inc %dx          # settle leaves dx at the data port
  out %al,%dx
  ret
data:
  push %ax
  call settle
  pop %ax
  out %al,%dx
  ret
settle:                # waits for IBF clear; al = status, dx = data port; drops stale output in write phase
  mov $0xca3,%dx
1: in %dx,%al
  test $2,%al
  jnz 1b
  dec %dx
  mov %al,%ah
  and $0xc0,%ah
  cmp $0x80,%ah        # WRITE state: clear OBF
  jne 2f
  push %ax
  in %dx,%al
  pop %ax
2: ret
hex:
  push %ax
  shr $4,%al
  call digit
  pop %ax
  and $15,%al
digit:
  add $'0',%al
  cmp $'9',%al
  jbe out
  add $7,%al
out:
  push %dx
  mov $0x3f8,%dx
  out %al,%dx
  pop %dx
  ret

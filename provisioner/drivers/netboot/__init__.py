"""Network boot: DHCP and TFTP by a supervised dnsmasq, then iPXE scripts over HTTP."""

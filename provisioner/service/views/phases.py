"""What each step of an operation is called before customers, who know no ramdisk and no BMC."""

from provisioner.domain.lifecycle import Step

TITLES: dict[Step, str] = {
    Step.FIND_RAMDISK: "Check the server",
    Step.POWER_OFF: "Power off",
    Step.OPEN_BOOT_WINDOW: "Permit one start",
    Step.POWER_ON: "Power on",
    Step.AWAIT_RAMDISK: "Start the maintenance system",
    Step.COLLECT_FACTS: "Read the hardware",
    Step.SANITISE_DISKS: "Erase the disks",
    Step.CHECK_HARDWARE: "Test the hardware",
    Step.AWAIT_VERDICT: "Judge the health",
    Step.WRITE_IMAGE: "Write your image",
    Step.PERSONALISE: "Set up keys and host name",
    Step.BOOT_TENANT: "Start your system",
    Step.AWAIT_TENANT: "Wait for your system",
    Step.OPEN_PORT: "Connect the network",
    Step.HAND_OVER: "Hand over",
    Step.SHUT_PORT: "Disconnect the network",
    Step.CLOSE_LEASE: "Confirm that access has ended",
    Step.REACH_BMC: "Take over the management controller",
    Step.DISABLE_BMC_USERS: "Remove management logins",
    Step.ROTATE_BMC_PASSWORD: "Change the management password",
    Step.SHUT_DOWN: "Shut down",
    Step.SWITCH_ON: "Switch on",
    Step.RESET: "Reset",
}

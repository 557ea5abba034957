# SPDX-License-Identifier: GPL-2.0-or-later
"""Outputs as people paste them; synthetic figures in the tools' own layout."""

from __future__ import annotations

SOFTNET = (
    "0165f2d8 00000000 00000d4e 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n"
    "00012f2d 00000012 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n"
)
INTERRUPTS = """           CPU0       CPU2
  0:         40          0   IO-APIC   2-edge      timer
 41:   90000000          0   PCI-MSI 524288-edge      eth0-TxRx-0
 42:   80000000          0   PCI-MSI 524289-edge      eth0-TxRx-1
LOC:     100000     100000   Local timer interrupts
ERR:          0
"""
SOFTIRQS = """                    CPU0       CPU1
          HI:          1          2
       TIMER:     100000     100000
      NET_RX:     900000        100
"""
ETHTOOL_S = """NIC statistics:
     rx_packets: 90000000
     rx_missed_errors: 120000
     rx_no_buffer_count: 0
     tx_packets: 5
     fw_version_note: n/a
"""
ETHTOOL_G = """Ring parameters for eth0:
Pre-set maximums:
RX:\t\t4096
RX Mini:\tn/a
TX:\t\t4096
Current hardware settings:
RX:\t\t256
RX Mini:\tn/a
TX:\t\t256
"""
ETHTOOL_L = """Channel parameters for eth0:
Pre-set maximums:
RX:\t\tn/a
Combined:\t8
Current hardware settings:
RX:\t\tn/a
Combined:\t1
"""
ETHTOOL_C = """Coalesce parameters for eth0:
Adaptive RX: off  TX: off
stats-block-usecs: 0
rx-usecs: 50
rx-frames: n/a
"""
ETHTOOL_K = "Features for eth0:\nrx-checksumming: on\ngeneric-receive-offload: off [fixed]\n"
ETHTOOL_I = "driver: ixgbe\nversion: 6.1\n"
NSTAT = "#kernel\nIpInReceives                    900000             0.0\nUdpInDatagrams                  500000             0.0\nUdpRcvbufErrors                 9000               0.0\n"  # noqa: E501
NETSTAT = """Udp:
    500000 packets received
    30 packets to unknown port received
    9000 packet receive errors
    9000 receive buffer errors
TcpExt:
    250 times the listen queue of a socket overflowed
    TCPBacklogDrop: 700
"""
SYSCTL = "net.core.netdev_budget = 300\nnet.core.netdev_budget_usecs = 2000\nnet.core.netdev_max_backlog = 128\n"
IP_LINK = """1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    RX:  bytes packets errors dropped  missed   mcast
          5000      50      0       0       0       0
    TX:  bytes packets errors dropped carrier collsns
          5000      50      0       0       0       0
2: eth0@if9: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP mode DEFAULT group default qlen 1000
    link/ether 52:54:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    RX:  bytes packets errors dropped  missed   mcast
      9000000   90000      0       0    4000       0
    RX errors:  length    crc   frame    fifo overrun
                     0      0       0       0       0
    TX:  bytes packets errors dropped carrier collsns
          5000      50      0       0       0       0
"""
NET_DEV = "Inter-|   Receive |  Transmit\n face |bytes packets\n  eth0: 100 90000 0 0 900 0 0 0 1 1 0 0 0 0 0 0\n"
UDP = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
    "  100: 0100007F:14E9 00000000:0000 07 00000000:00034000 00:00000000 00000000     0        0 777 2 0000000000000000 4000\n"
)
TOP = """top - 12:00:00 up 1 day,  1 user,  load average: 1.0, 1.0, 1.0
    PID USER      PR  NI    VIRT    RES    SHR S  %CPU  %MEM     TIME+ COMMAND
     10 root      20   0       0      0      0 R  99,7   0.0 100:00.00 ksoftirqd/0
   2000 root      20   0  100000  10000   1000 S   3.0   0.1   0:10.00 sshd
"""
DMESG = """[  100.0] eth0: link up
[ 2000.1] page_pool_release_retry() stalled pool shutdown: id 7, 3 inflight 2476 sec
[ 2100.1] NOHZ tick-stop error: local softirq work is pending, handler #08!!!
"""
UNAME = "Linux somewhere 6.1.0-37-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.140-1 x86_64 GNU/Linux\n"
CONFIG = "CONFIG_HZ=250\nCONFIG_RPS=y\nCONFIG_PREEMPT_VOLUNTARY=y\n"
CMDLINE = "BOOT_IMAGE=/vmlinuz root=/dev/sda1 isolcpus=2-3 quiet\n"
STAT = "cpu  100 0 100 9000 0 0 50 0 0 0\ncpu0 50 0 50 4500 0 0 25 0 0 0\ncpu1 50 0 50 4500 0 0 25 0 0 0\nintr 5\n"
SNMP = "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: 500000 3 9000 1 9000\n"

ALL = {
    "softnet": SOFTNET, "interrupts": INTERRUPTS, "softirqs": SOFTIRQS, "ethtool_S": ETHTOOL_S, "ethtool_g": ETHTOOL_G,
    "ethtool_l": ETHTOOL_L, "ethtool_c": ETHTOOL_C, "ethtool_k": ETHTOOL_K, "ethtool_i": ETHTOOL_I, "nstat": NSTAT,
    "netstat_s": NETSTAT, "sysctl": SYSCTL, "ip_link": IP_LINK, "devices": NET_DEV, "udp": UDP, "processes": TOP, "log": DMESG,
    "uname": UNAME, "config": CONFIG, "boot_args": CMDLINE, "cpu_time": STAT, "protocols": SNMP,
}  # fmt: skip

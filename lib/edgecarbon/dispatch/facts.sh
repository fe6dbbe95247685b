# What condition this device is in, as key=value lines. POSIX shell; every tool may be missing, and then says nothing.
# $sysfs: where /sys is; $folder: where this project's files are kept here.
say() { [ -n "$2" ] && printf '%s=%s\n' "$1" "$2"; }
first() { [ -r "$1" ] && IFS= read -r line < "$1" 2>/dev/null && printf '%s' "$line"; }
say system "$(uname -s 2>/dev/null)"
say release "$(uname -r 2>/dev/null)"
say machine "$(uname -m 2>/dev/null)"
say unix_s "$(date +%s 2>/dev/null)"
say python "$(python3 -c 'import platform; print(platform.python_version())' 2>/dev/null)"
for tool in apt-get dnf pacman brew pkg; do command -v $tool >/dev/null 2>&1 && say package_tool $tool && break; done

place=$folder
while [ -n "$place" ] && [ ! -d "$place" ]; do case $place in */*) place=${place%/*} ;; *) place= ;; esac; done
say disk_free_kbyte "$(df -Pk "${place:-/}" 2>/dev/null | awk 'NR == 2 { print $4 }')"

say memory_total_kbyte "$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo 2>/dev/null)"
say memory_total_bytes "$(sysctl -n hw.memsize 2>/dev/null)"
say load "$( (cat /proc/loadavg || sysctl -n vm.loadavg | tr -d '{}') 2>/dev/null | awk '{ print $1; exit }')"

# Linux: laptops, boards, and phones whose shell may read it.
for supply in "$sysfs"/class/power_supply/*; do
  case $(first "$supply/type") in
    Battery)
      # A mouse has a battery too.
      [ "$(first "$supply/scope")" = Device ] && continue
      say battery_percent "$(first "$supply/capacity")"
      say battery_status "$(first "$supply/status")" ;;
    Mains | USB*) say online "$(first "$supply/online")" ;;
  esac
done
for zone in "$sysfs"/class/thermal/thermal_zone*; do
  say "zone $(first "$zone/type")" "$(first "$zone/temp")"
done
for sensor in "$sysfs"/class/hwmon/hwmon*; do
  case $(first "$sensor/name") in
    coretemp | k10temp | zenpower | cpu_thermal)
      for input in "$sensor"/temp*_input; do say "zone cpu" "$(first "$input")"; done ;;
  esac
done
say throttle_count "$(first "$sysfs/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count")"

# macOS.
command -v pmset >/dev/null 2>&1 && {
  pmset -g batt 2>/dev/null | sed 's/^/pmset=/'
  pmset -g therm 2>/dev/null | sed -n 's/^[^A-Za-z]*CPU_Speed_Limit[^0-9]*/speed_limit=/p'
}

# Android: what `adb shell` may ask, and an app may not.
command -v getprop >/dev/null 2>&1 && {
  say android "$(getprop ro.build.version.release 2>/dev/null)"
  say model "$(getprop ro.product.model 2>/dev/null)"
}
command -v dumpsys >/dev/null 2>&1 && {
  dumpsys battery 2>/dev/null | sed 's/^ */dumpsys=/'
  dumpsys thermalservice 2>/dev/null | sed -n 's/^ *Thermal Status: */thermal_status=/p'
}
command -v settings >/dev/null 2>&1 &&
  say phantom_monitor "$(settings get global settings_enable_monitor_phantom_procs 2>/dev/null)"
command -v device_config >/dev/null 2>&1 &&
  say phantom_limit "$(device_config get activity_manager max_phantom_processes 2>/dev/null)"
:

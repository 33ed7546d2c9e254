"""stub"""
from dataclasses import dataclass
@dataclass(frozen=True)
class Diagnosis:
    fault: str
    message: str
    advice: str
    evidence: str = ""
def diagnose(logs, last, *, running, ordered_off=False): return Diagnosis("x",f"failed after {last}","?")
def find_fault(logs): return None
